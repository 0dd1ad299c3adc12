//! The figures of this machine, as Linux shows them below `/proc` and `/sys`.
//!
//! They are read away from the threads that run guests, since a disk or a sensor may take its time, by one reading at once and one a
//! second at most: who asks in a loop is answered from memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::clock::Clock;

/// The machine, or what a test puts in its place.
pub struct Machine {
    source: Arc<Source>,
    clock: Clock,
    began: Instant,
    state: Mutex<State>,
}

/// Where the figures are.
struct Source {
    proc: PathBuf,
    sys: PathBuf,
    /// Its file system is the gateway's disk.
    data: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub uptime_s: u64,
    pub machine_uptime_s: u64,
    pub cpu_cores: u32,
    pub cpu_usage_percent: f32,
    pub memory_total_bytes: u64,
    pub memory_used_bytes: u64,
    pub disk_total_bytes: u64,
    pub disk_used_bytes: u64,
    pub temperature_celsius: Option<f32>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum NoFigures {
    #[error("this machine does not show its figures: {0}")]
    Unreadable(String),
    #[error("this machine did not show its figures within {} ms: its disk or a sensor does not answer", READ_TIMEOUT.as_millis())]
    Late,
}

struct State {
    /// The processors' times that the next usage is counted from.
    cpu: CpuTimes,
    last: Option<(Instant, Figures)>,
    /// A reading that was begun, and perhaps not waited for.
    reading: Option<JoinHandle<Result<Reading, NoFigures>>>,
}

/// What the system says; the rest is worked out from what it said before.
struct Reading {
    cpu: CpuTimes,
    figures: Figures,
}

/// Times of all processors together, in the kernel's ticks.
#[derive(Clone, Copy, Default)]
struct CpuTimes {
    all: u64,
    idle: u64,
}

/// How old figures may be.
const KEPT: Duration = Duration::from_secs(1);
/// How long anybody waits. A reading that takes longer goes on, and who asks next waits for the same.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

impl Machine {
    /// This one. `data` is the gateway's data directory.
    pub fn here(data: &Path, clock: Clock) -> Self {
        Self::of(Source { proc: "/proc".into(), sys: "/sys".into(), data: data.to_owned() }, clock)
    }

    fn of(source: Source, clock: Clock) -> Self {
        // Without them the first usage is that since the machine's start.
        let cpu = source.cpu_times().unwrap_or_default();
        let state = Mutex::new(State { cpu, last: None, reading: None });
        Self { source: Arc::new(source), began: clock.monotonic(), clock, state }
    }

    /// The figures of now, or of up to a second ago.
    pub async fn figures(&self) -> Result<Figures, NoFigures> {
        tokio::time::timeout(READ_TIMEOUT, self.kept_or_read()).await.unwrap_or(Err(NoFigures::Late))
    }

    async fn kept_or_read(&self) -> Result<Figures, NoFigures> {
        let mut state = self.state.lock().await;
        let now = self.clock.monotonic();
        if let Some((_, figures)) = state.last.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < KEPT) {
            return Ok(figures.clone());
        }
        let source = self.source.clone();
        let reading = state.reading.get_or_insert_with(|| tokio::task::spawn_blocking(move || source.read()));
        let ended = reading.await;
        state.reading = None;
        let read = ended.unwrap_or_else(|error| Err(NoFigures::Unreadable(error.to_string())))?;
        let uptime_s = now.saturating_duration_since(self.began).as_secs();
        let figures = Figures { uptime_s, cpu_usage_percent: read.cpu.usage_percent_since(state.cpu), ..read.figures };
        state.cpu = read.cpu;
        state.last = Some((now, figures.clone()));
        Ok(figures)
    }
}

impl CpuTimes {
    fn usage_percent_since(self, before: Self) -> f32 {
        let all = self.all.saturating_sub(before.all);
        // Time that was waited for a disk is idle too, and the kernel may take some of it back.
        let idle = self.idle.saturating_sub(before.idle).min(all);
        if all == 0 { 0.0 } else { (100.0 * (all - idle) as f64 / all as f64) as f32 }
    }
}

impl Source {
    fn read(&self) -> Result<Reading, NoFigures> {
        let memory = self.text("meminfo")?;
        let kib = |key: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            number.ok_or_else(|| self.no("meminfo", key))
        };
        let (total_kib, available_kib) = (kib("MemTotal")?, kib("MemAvailable")?);
        let uptime = self.text("uptime")?;
        let machine_uptime = uptime.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
        let disk = rustix::fs::statvfs(&self.data);
        let disk = disk.map_err(|error| NoFigures::Unreadable(format!("the file system of `{}`: {error}", self.data.display())))?;
        let figures = Figures {
            uptime_s: 0,
            machine_uptime_s: machine_uptime.ok_or_else(|| self.no("uptime", "a number of seconds"))? as u64,
            cpu_cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            cpu_usage_percent: 0.0,
            memory_total_bytes: total_kib.saturating_mul(1_024),
            memory_used_bytes: total_kib.saturating_sub(available_kib).saturating_mul(1_024),
            disk_total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            disk_used_bytes: disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize),
            temperature_celsius: self.temperature(),
        };
        Ok(Reading { cpu: self.cpu_times()?, figures })
    }

    /// The first line of `stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq and steal; what guests took is in `user`.
    fn cpu_times(&self) -> Result<CpuTimes, NoFigures> {
        let stat = self.text("stat")?;
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
        let times: Vec<u64> = line.unwrap_or_default().split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
        match times[..] {
            [_, _, _, idle, ..] => {
                let waited = times.get(4).copied().unwrap_or_default();
                Ok(CpuTimes { all: times.iter().sum(), idle: idle.saturating_add(waited) })
            }
            _ => Err(self.no("stat", "the times of `cpu`")),
        }
    }

    /// The highest of the sensors that can be read, in thousandths of a degree. Many machines have none.
    fn temperature(&self) -> Option<f32> {
        let zones = fs::read_dir(self.sys.join("class/thermal")).ok()?;
        let zones = zones.flatten().filter(|zone| zone.file_name().to_string_lossy().starts_with("thermal_zone"));
        let millis = zones.filter_map(|zone| fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse::<i32>().ok());
        // What a sensor says that is switched off is no temperature of a machine.
        let plausible = millis.filter(|millis| (-60_000..=200_000).contains(millis));
        plausible.max().map(|millis| millis as f32 / 1_000.0)
    }

    fn text(&self, name: &str) -> Result<String, NoFigures> {
        let path = self.proc.join(name);
        fs::read_to_string(&path).map_err(|error| NoFigures::Unreadable(format!("`{}`: {error}", path.display())))
    }

    fn no(&self, name: &str, what: &str) -> NoFigures {
        NoFigures::Unreadable(format!("`{}` does not say {what}", self.proc.join(name).display()))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const STAT: &str = "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n";
    const MEMORY: &str = "MemTotal:        2000 kB\nMemFree:          100 kB\nMemAvailable:     500 kB\n";

    /// A machine made of files.
    fn files() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("class/thermal/thermal_zone0");
        fs::create_dir_all(&zone).unwrap();
        let all = [("stat", STAT), ("meminfo", MEMORY), ("uptime", "98.76 12.3\n"), ("class/thermal/thermal_zone0/temp", "41500\n")];
        for (name, text) in all {
            fs::write(root.path().join(name), text).unwrap();
        }
        root
    }

    fn source(root: &TempDir) -> Source {
        let root = root.path().to_owned();
        Source { proc: root.clone(), sys: root.clone(), data: root }
    }

    #[tokio::test]
    async fn figures_are_those_of_the_system_and_are_kept_for_a_second() {
        let root = files();
        let (clock, hands) = Clock::fixed(0);
        let machine = Machine::of(source(&root), clock);
        // 25 of 100 ticks were busy since the start.
        fs::write(root.path().join("stat"), "cpu  115 0 110 770 105 0 0 0 0 0\n").unwrap();
        hands.advance(Duration::from_secs(7));
        let first = machine.figures().await.unwrap();
        assert_eq!((first.uptime_s, first.machine_uptime_s, first.cpu_usage_percent), (7, 98, 25.0));
        assert_eq!((first.memory_total_bytes, first.memory_used_bytes), (2_048_000, 1_536_000));
        assert!(first.disk_total_bytes >= first.disk_used_bytes && first.disk_used_bytes > 0);
        assert_eq!(first.temperature_celsius, Some(41.5));
        fs::write(root.path().join("stat"), "cpu  215 0 110 770 105 0 0 0 0 0\n").unwrap();
        fs::remove_dir_all(root.path().join("class")).unwrap();
        hands.advance(Duration::from_millis(999));
        assert_eq!(machine.figures().await.unwrap(), first);
        hands.advance(Duration::from_millis(1));
        let second = machine.figures().await.unwrap();
        assert_eq!((second.uptime_s, second.cpu_usage_percent, second.temperature_celsius), (8, 100.0, None));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named_and_is_asked_for_again() {
        let root = files();
        let machine = Machine::of(source(&root), Clock::fixed(0).0);
        for (name, text, wanted) in [
            ("meminfo", "MemTotal: many kB\n", "meminfo` does not say MemTotal"),
            ("meminfo", "MemTotal: 1 kB\n", "meminfo` does not say MemAvailable"),
            ("stat", "cpu  1 2\n", "stat` does not say the times of `cpu`"),
            ("uptime", "", "uptime` does not say a number of seconds"),
        ] {
            let path = root.path().join(name);
            let good = fs::read_to_string(&path).unwrap();
            fs::write(&path, text).unwrap();
            let said = machine.figures().await.unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
            fs::write(&path, good).unwrap();
        }
        assert!(machine.figures().await.is_ok());
    }
}

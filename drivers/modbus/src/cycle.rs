//! When a device is asked: its points, in groups of one interval each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::mapping::Point;
use crate::plan::{self, Read};

/// The points of one interval, read one after another and reported together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// `None`: the device's own.
    own_interval: Option<Duration>,
    pub interval: Duration,
    /// By the driver's clock.
    pub due: Duration,
    pub reads: Vec<Read>,
}

/// The cycles of a device. All of them are due now.
pub fn cycles(points: &[Point], interval: Duration, gap: u16, now: Duration) -> Vec<Cycle> {
    let mut groups: BTreeMap<Option<Duration>, Vec<usize>> = BTreeMap::new();
    for (at, point) in points.iter().enumerate().filter(|(_, point)| point.is_readable) {
        groups.entry(point.interval).or_default().push(at);
    }
    let cycle = |(own_interval, wanted): (Option<Duration>, Vec<usize>)| Cycle {
        own_interval,
        interval: own_interval.unwrap_or(interval),
        due: now,
        reads: plan::reads(points, wanted, gap),
    };
    groups.into_iter().map(cycle).collect()
}

impl Cycle {
    /// It was done: when it is due again. Beats that were missed are left out.
    pub fn done(&mut self, now: Duration) {
        self.due += self.interval;
        if self.due <= now {
            let late_ns = (now - self.due).as_nanos() % self.interval.as_nanos().max(1);
            self.due = now + self.interval - Duration::from_nanos(late_ns as u64);
        }
    }

    /// The device's interval was changed.
    pub fn set_interval(&mut self, interval: Duration, now: Duration) {
        if self.own_interval.is_none() && self.interval != interval {
            self.interval = interval;
            self.due = self.due.min(now + interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Kind, Layout};
    use crate::mapping::{Area, Report, WriteBy};
    use crate::model::Model;

    fn point(address: u16, interval: Option<u64>, is_readable: bool) -> Point {
        Point {
            identifier: String::new(),
            is_readable,
            is_writable: true,
            model: Model::Bool,
            area: Area::Holding,
            address,
            layout: Layout {
                kind: Kind::Uint16,
                items: None,
                bits: None,
                swap_bytes: false,
                swap_registers: false,
                scale: 1.0,
                offset: 0.0,
            },
            report: Report::Periodic,
            interval: interval.map(Duration::from_millis),
            write_by: WriteBy::Usual,
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn points_of_one_interval_are_one_cycle_and_what_is_only_written_is_in_none() {
        let points = [point(0, None, true), point(1, Some(50), true), point(2, None, true), point(3, None, false)];
        let mut cycles = cycles(&points, ms(1_000), 8, ms(7));
        assert_eq!(cycles.iter().map(|cycle| cycle.interval).collect::<Vec<_>>(), [ms(1_000), ms(50)]);
        assert_eq!(cycles[0].reads[0].points, [0, 2]);
        cycles.iter_mut().for_each(|cycle| cycle.set_interval(ms(200), ms(7)));
        assert_eq!(cycles.iter().map(|cycle| cycle.interval).collect::<Vec<_>>(), [ms(200), ms(50)]);
    }

    #[test]
    fn a_cycle_keeps_its_beat_and_skips_what_it_missed() {
        let mut cycle = cycles(&[point(0, None, true)], ms(100), 0, ms(1_000)).remove(0);
        cycle.done(ms(1_030));
        assert_eq!(cycle.due, ms(1_100));
        cycle.done(ms(1_455));
        assert_eq!(cycle.due, ms(1_500));
        cycle.done(ms(1_600));
        assert_eq!(cycle.due, ms(1_700));
    }
}

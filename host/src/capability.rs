//! What a guest may import, one file per WIT interface. Each owns its context and is linked by a getter,
//! so none of them knows what else a guest's Store holds.

pub mod credentials;
pub mod dirs;
pub mod fc;
pub mod gateway_info;
pub mod http;
pub mod iot_data;
pub mod kv;
pub mod listen;
pub mod requests;
pub mod sockets;
pub mod thing_access;
pub mod values;
pub mod wasi;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::audit::Audit;
use crate::bindings::types;
use crate::grant::{ClosedDirs, Denied, Grants};
use crate::limit::{Limits, Pace, Rate};
use crate::metric::Metrics;
use crate::telemetry::{OncePerSecond, printable};
use crate::thing::fault::{self, Fault};

/// Until when something that a guest asks for may take.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Moment(Instant),
    /// So long after it was asked for.
    After(Duration),
}

impl Until {
    pub fn moment(self) -> Instant {
        match self {
            Self::Moment(moment) => moment,
            Self::After(duration) => Instant::now() + duration,
        }
    }
}

/// Who calls: the identity and the grants of one deployed function or driver.
pub struct Guest {
    /// As people know it: `function EdgeFC/helloworld`, `driver light`.
    pub who: String,
    pub grants: Arc<Grants>,
    closed_dirs: Arc<ClosedDirs>,
    /// Where it finds the files of its configuration.
    files: Option<PathBuf>,
    audit: Audit,
    metrics: Metrics,
    publishes: Rate,
    /// Of a driver, in place of `publishes`: what it reports waits for a while.
    reports: Pace,
    invocations: Rate,
    /// One for each limit that was met, and one for failures without a limit.
    lines: Mutex<Vec<(Option<&'static str>, OncePerSecond)>>,
}

/// A driver that reports faster than it may waits for so long, so that its loop goes at the pace that it may have.
const REPORT_WAIT_MAX: Duration = Duration::from_secs(2);

impl Guest {
    pub fn new(who: String, grants: Arc<Grants>, closed_dirs: Arc<ClosedDirs>, limits: &Limits, audit: Audit, metrics: Metrics) -> Self {
        let (publishes, invocations) = (Rate::new(limits.publishes_per_s), Rate::new(limits.invocations_per_s));
        let reports = Pace::new(limits.publishes_per_s);
        Self { who, grants, closed_dirs, files: None, audit, metrics, publishes, reports, invocations, lines: Mutex::default() }
    }

    /// The same with a directory of files that it can read where it is.
    #[must_use]
    pub fn with_files(self, dir: PathBuf) -> Self {
        Self { files: Some(dir), ..self }
    }

    /// Tells what went wrong with this guest: counts the limit, where it was one, and writes a line to the log, of each kind one
    /// a second.
    pub fn tell(&self, limit: Option<&'static str>, message: &str) {
        if let Some(limit) = limit {
            self.count(limit);
        }
        let Some(others) = self.turn(limit) else { return };
        let (named, message) = (self.named(), printable(message));
        match others {
            0 => tracing::warn!("{named} {message}"),
            others => tracing::warn!("{named} {message} (and {others} more such since the last line)"),
        }
    }

    /// Counts a limit that was met, and that the caller tells.
    pub fn count(&self, limit: &'static str) {
        self.metrics.limit_hit(&self.who, limit);
    }

    fn turn(&self, limit: Option<&'static str>) -> Option<u64> {
        let mut lines = self.lines.lock();
        let at = lines.iter().position(|(of, _)| *of == limit).unwrap_or_else(|| {
            lines.push((limit, OncePerSecond::default()));
            lines.len() - 1
        });
        lines[at].1.turn()
    }

    /// `function `a/b``, as log lines have it.
    fn named(&self) -> String {
        let (kind, name) = self.who.split_once(' ').unwrap_or(("guest", &self.who));
        format!("{kind} `{name}`")
    }

    fn may_publish_now(&self) -> Result<(), types::Fault> {
        self.within(&self.publishes, "publishes_per_s")
    }

    /// Waits until a driver may report, and is told that it may not where too many wait already.
    async fn may_report(&self) -> Result<(), types::Fault> {
        let limit = "publishes_per_s";
        let Some(wait) = self.reports.reserve(REPORT_WAIT_MAX) else { return Err(self.met(limit, self.publishes.per_s())) };
        if !wait.is_zero() {
            self.tell(Some(limit), &format!("met its limit {limit} ({}): its reports wait", self.publishes.per_s()));
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    fn may_invoke_now(&self) -> Result<(), types::Fault> {
        self.within(&self.invocations, "invocations_per_s")
    }

    fn within(&self, rate: &Rate, limit: &'static str) -> Result<(), types::Fault> {
        if rate.take() {
            return Ok(());
        }
        Err(self.met(limit, rate.per_s()))
    }

    fn met(&self, limit: &'static str, max: u32) -> types::Fault {
        self.tell(Some(limit), &format!("met its limit {limit} ({max})"));
        let message = format!("limit {limit} ({max}) hit: try again in a second, or raise it in ledge.toml");
        types::Fault { code: fault::TOO_MANY, message }
    }

    /// A line in the audit about this guest, of what `by` did or what befell it.
    pub fn audited(&self, by: &str, what: &'static str, detail: &str) {
        self.audit.record(by, what, detail);
    }

    /// Counts something that no grant covers, and that the caller tells.
    pub fn count_denied(&self, grant: &'static str) {
        self.metrics.denied(&self.who, grant);
    }

    /// The fault for a call that no grant covers, after a line in the audit.
    pub fn denied(&self, grant: &'static str, what: impl fmt::Display) -> types::Fault {
        let denied = Denied { who: self.who.clone(), grant, what: what.to_string() };
        self.audit.record(&self.who, "denied", &format!("{grant} {what}"));
        self.count_denied(grant);
        types::Fault { code: fault::NOT_GRANTED, message: denied.to_string() }
    }
}

impl From<Fault> for types::Fault {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code, message: fault.message }
    }
}

impl From<types::Fault> for Fault {
    fn from(fault: types::Fault) -> Self {
        Self::new(fault.code, fault.message)
    }
}

impl From<types::ThingId> for crate::name::ThingId {
    fn from(id: types::ThingId) -> Self {
        Self { product_key: id.product_key, device_name: id.device_name }
    }
}

impl From<crate::name::ThingId> for types::ThingId {
    fn from(id: crate::name::ThingId) -> Self {
        Self { product_key: id.product_key, device_name: id.device_name }
    }
}

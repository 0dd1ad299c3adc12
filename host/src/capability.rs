//! What a guest may import, one file per WIT interface. Each owns its context and is linked by a getter,
//! so none of them knows what else a guest's Store holds.

pub mod credentials;
pub mod dirs;
pub mod fc;
pub mod http;
pub mod iot_data;
pub mod sockets;
pub mod thing_access;
pub mod values;
pub mod wasi;

use std::fmt;
use std::sync::Arc;

use crate::audit::Audit;
use crate::bindings::types;
use crate::grant::{ClosedDirs, Denied, Grants};
use crate::limit::Limits;
use crate::limit::Rate;
use crate::metric::Metrics;
use crate::telemetry::OncePerSecond;
use crate::thing::fault::{self, Fault};

/// Who calls: the identity and the grants of one deployed function or driver.
pub struct Guest {
    /// As people know it: `function EdgeFC/helloworld`, `driver light`.
    pub who: String,
    pub grants: Grants,
    closed_dirs: Arc<ClosedDirs>,
    audit: Audit,
    metrics: Metrics,
    publishes: Rate,
    invocations: Rate,
    limit_lines: OncePerSecond,
}

impl Guest {
    pub fn new(who: String, grants: Grants, closed_dirs: Arc<ClosedDirs>, limits: &Limits, audit: Audit, metrics: Metrics) -> Self {
        let (publishes, invocations) = (Rate::new(limits.publishes_per_s), Rate::new(limits.invocations_per_s));
        Self { who, grants, closed_dirs, audit, metrics, publishes, invocations, limit_lines: OncePerSecond::default() }
    }

    /// Counts a limit that was met, which the caller has told or will tell.
    pub fn met_limit(&self, limit: &'static str) {
        self.metrics.limit_hit(&self.who, limit);
    }

    fn may_publish_now(&self) -> Result<(), types::Fault> {
        self.within(&self.publishes, "publishes_per_s")
    }

    fn may_invoke_now(&self) -> Result<(), types::Fault> {
        self.within(&self.invocations, "invocations_per_s")
    }

    fn within(&self, rate: &Rate, limit: &'static str) -> Result<(), types::Fault> {
        if rate.take() {
            return Ok(());
        }
        self.met_limit(limit);
        let message = format!("limit {limit} ({}) hit: try again in a second, or raise it in ledge.toml", rate.per_s());
        if let Some(others) = self.limit_lines.turn() {
            tracing::warn!("{}: {message} (and {others} more since the last such line)", self.who);
        }
        Err(types::Fault { code: fault::TOO_MANY, message })
    }

    /// A line in the audit about this guest, of what `by` did or what befell it.
    pub fn audited(&self, by: &str, what: &'static str, detail: &str) {
        self.audit.record(by, what, detail);
    }

    /// The fault for a call that no grant covers, after a line in the audit.
    fn denied(&self, grant: &'static str, what: impl fmt::Display) -> types::Fault {
        let denied = Denied { who: self.who.clone(), grant, what: what.to_string() };
        self.audit.record(&self.who, "denied", &format!("{grant} {what}"));
        self.metrics.denied(&self.who, grant);
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
        Self { code: fault.code, message: fault.message }
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

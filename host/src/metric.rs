//! Metrics, as Prometheus reads them (`GET /ledge/v1/metrics`).
//!
//! What is counted on the way of a call is counted by counters that its function holds: an addition each, no lookup and no lock.
//! Gauges are read when somebody asks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Seconds = Counter<f64, AtomicU64>;

/// Every metric of a gateway. Clones count into the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    invocations: Family<InvocationLabels, Counter>,
    seconds: Family<FunctionLabels, Seconds>,
    limit_hits: Family<LimitLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    running: Family<FunctionLabels, Gauge>,
    breakers: Family<FunctionLabels, Gauge>,
    restarts: Family<DriverLabels, Gauge>,
    drivers_up: Family<DriverLabels, Gauge>,
    queued: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionLabels {
    function: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InvocationLabels {
    function: String,
    outcome: Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    guest: String,
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    guest: String,
    grant: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriverLabels {
    driver: String,
}

/// How an invocation ended, as the metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the derive writes the names as they stand, and labels are lower case")]
enum Ended {
    done,
    handled_error,
    unhandled_error,
    refused,
}

/// The counters of one function.
#[derive(Clone, Debug)]
pub struct FunctionMetrics {
    pub done: Counter,
    /// The handler answered with an error of its own.
    pub handled: Counter,
    /// The handler was ended.
    pub unhandled: Counter,
    /// It was not started: busy, broken, too deep.
    pub refused: Counter,
    seconds: Seconds,
}

impl FunctionMetrics {
    pub fn took(&self, time: Duration) {
        self.seconds.inc_by(time.as_secs_f64());
    }
}

/// What is read when somebody asks.
#[derive(Default)]
pub struct Readings {
    /// Each function with its running calls, and whether its breaker is open.
    pub functions: Vec<(String, u32, bool)>,
    /// Each driver with its restarts, and whether it runs.
    pub drivers: Vec<(String, u64, bool)>,
    pub queued: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (invocations, seconds, limit_hits, denials) = (Family::default(), Family::default(), Family::default(), Family::default());
        let (running, breakers, restarts, drivers_up) = (Family::default(), Family::default(), Family::default(), Family::default());
        let queued = Gauge::default();
        // The library adds `_total` to counters, and a full stop to each text.
        registry.register("ledge_invocations", "Invocations by how they ended", invocations.clone());
        registry.register("ledge_invocation_seconds", "Wall-clock time of the invocations that were started", seconds.clone());
        registry.register("ledge_limit_hits", "Limits that a function or driver met, by the name of the limit", limit_hits.clone());
        registry.register("ledge_denials", "Calls that no grant covered, by the grant that would", denials.clone());
        registry.register("ledge_running_invocations", "Invocations that run now", running.clone());
        registry.register("ledge_breaker_open", "Whether callers of a function are refused because it failed too often", breakers.clone());
        registry.register("ledge_driver_restarts", "How often a driver was started again since it was deployed", restarts.clone());
        registry.register("ledge_driver_up", "Whether a driver runs now", drivers_up.clone());
        registry.register("ledge_queued_invocations", "Async invocations that were accepted and have not ended", queued.clone());
        let inner = Inner { registry, invocations, seconds, limit_hits, denials, running, breakers, restarts, drivers_up, queued };
        Self(Arc::new(inner))
    }
}

impl Metrics {
    /// The counters of a function; those of an earlier deployment go on.
    pub fn function(&self, name: &str) -> FunctionMetrics {
        let ended = |outcome| self.0.invocations.get_or_create_owned(&InvocationLabels { function: name.to_owned(), outcome });
        FunctionMetrics {
            done: ended(Ended::done),
            handled: ended(Ended::handled_error),
            unhandled: ended(Ended::unhandled_error),
            refused: ended(Ended::refused),
            seconds: self.0.seconds.get_or_create_owned(&FunctionLabels { function: name.to_owned() }),
        }
    }

    /// `guest` met `limit`, which is the name of a field of [`Limits`](crate::limit::Limits).
    pub fn limit_hit(&self, guest: &str, limit: &'static str) {
        self.0.limit_hits.get_or_create(&LimitLabels { guest: guest.to_owned(), limit }).inc();
    }

    pub fn denied(&self, guest: &str, grant: &'static str) {
        self.0.denials.get_or_create(&DenialLabels { guest: guest.to_owned(), grant }).inc();
    }

    /// Everything, in the text format of OpenMetrics.
    pub fn text(&self, readings: Readings) -> String {
        let inner = &self.0;
        for family in [&inner.running, &inner.breakers] {
            family.clear();
        }
        for family in [&inner.restarts, &inner.drivers_up] {
            family.clear();
        }
        for (function, running, is_open) in readings.functions {
            let labels = FunctionLabels { function };
            inner.running.get_or_create(&labels).set(i64::from(running));
            inner.breakers.get_or_create(&labels).set(i64::from(is_open));
        }
        for (driver, restarts, is_up) in readings.drivers {
            let labels = DriverLabels { driver };
            inner.restarts.get_or_create(&labels).set(i64::try_from(restarts).unwrap_or(i64::MAX));
            inner.drivers_up.get_or_create(&labels).set(i64::from(is_up));
        }
        inner.queued.set(i64::try_from(readings.queued).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &inner.registry).expect("a String takes every write");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_there_under_its_name() {
        let metrics = Metrics::default();
        let function = metrics.function("a/b");
        function.done.inc();
        function.took(Duration::from_millis(1_500));
        metrics.function("a/b").done.inc();
        metrics.limit_hit("function a/b", "cpu_ms");
        metrics.denied("driver x", "tcp");
        let text = metrics.text(Readings { functions: vec![("a/b".into(), 3, true)], drivers: vec![("x".into(), 2, false)], queued: 7 });
        for line in [
            r#"ledge_invocations_total{function="a/b",outcome="done"} 2"#,
            r#"ledge_invocation_seconds_total{function="a/b"} 1.5"#,
            r#"ledge_limit_hits_total{guest="function a/b",limit="cpu_ms"} 1"#,
            r#"ledge_denials_total{guest="driver x",grant="tcp"} 1"#,
            r#"ledge_running_invocations{function="a/b"} 3"#,
            r#"ledge_breaker_open{function="a/b"} 1"#,
            r#"ledge_driver_restarts{driver="x"} 2"#,
            r#"ledge_driver_up{driver="x"} 0"#,
            "ledge_queued_invocations 7",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

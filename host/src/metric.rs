//! Metrics, as Prometheus reads them (`GET /ledge/v1/metrics`).
//!
//! What is counted on the way of a call is counted by counters that its function holds: an addition each, no lookup and no lock. They
//! are small, since a gateway may have a thousand functions that nobody calls, and so they have names only when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted by name. Clones count into the same.
#[derive(Clone, Default)]
pub struct Metrics {
    limit_hits: Family<LimitLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    open_connections: Family<ListenerLabels, Gauge>,
    turned_away: Family<TurnedAwayLabels, Counter>,
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
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnedAwayLabels {
    listener: &'static str,
    bound: &'static str,
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

/// What one function counts.
#[derive(Debug, Default)]
pub struct FunctionMetrics {
    pub done: Count,
    /// The handler answered with an error of its own.
    pub handled: Count,
    /// The handler was ended.
    pub unhandled: Count,
    /// It was not started: busy, broken, too deep.
    pub refused: Count,
    nanoseconds: AtomicU64,
}

/// What a listener counts. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    /// Those that are served now.
    pub open: Gauge,
    /// Their address had as many as it may.
    pub beyond_address: Counter,
    /// All together had.
    pub beyond_all: Counter,
}

/// What people and programs were refused.
#[derive(Debug, Default)]
pub struct RefusalMetrics {
    /// A user may not do what was asked.
    pub denied_requests: Count,
    /// A password or a signature was wrong.
    pub failed_logins: Count,
    /// A password was not looked at, after others that were wrong.
    pub throttled_logins: Count,
}

#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl FunctionMetrics {
    pub fn took(&self, time: Duration) {
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// What is read when somebody asks.
#[derive(Default)]
pub struct Readings {
    pub functions: Vec<FunctionReading>,
    /// Each driver with its restarts, and whether it runs.
    pub drivers: Vec<(String, u64, bool)>,
    /// Each persistent function with its restarts, and whether it runs.
    pub persistents: Vec<(String, u64, bool)>,
    pub queued: usize,
    pub password_hashes: u64,
    pub denied_requests: u64,
    pub failed_logins: u64,
    pub throttled_logins: u64,
}

pub struct FunctionReading {
    pub name: String,
    pub running: u32,
    pub is_open: bool,
    pub counted: Arc<FunctionMetrics>,
}

impl Metrics {
    /// `guest` met `limit`, which is the name of a field of [`Limits`](crate::limit::Limits).
    pub fn limit_hit(&self, guest: &str, limit: &'static str) {
        self.limit_hits.get_or_create(&LimitLabels { guest: guest.to_owned(), limit }).inc();
    }

    pub fn denied(&self, guest: &str, grant: &'static str) {
        self.denials.get_or_create(&DenialLabels { guest: guest.to_owned(), grant }).inc();
    }

    /// What a listener of this name is to count.
    pub fn connections(&self, listener: &'static str) -> ConnectionMetrics {
        let turned_away = |bound| self.turned_away.get_or_create(&TurnedAwayLabels { listener, bound }).clone();
        ConnectionMetrics {
            open: self.open_connections.get_or_create(&ListenerLabels { listener }).clone(),
            beyond_address: turned_away("address"),
            beyond_all: turned_away("all"),
        }
    }

    /// Everything, in the text format of OpenMetrics.
    pub fn text(&self, readings: Readings) -> String {
        let mut registry = Registry::default();
        // The library adds `_total` to counters, and a full stop to each text.
        let invocations = Family::<InvocationLabels, Counter>::default();
        registry.register("ledge_invocations", "Invocations by how they ended", invocations.clone());
        let seconds = Family::<FunctionLabels, Counter<f64, AtomicU64>>::default();
        registry.register("ledge_invocation_seconds", "Wall-clock time of the invocations that were started", seconds.clone());
        registry.register("ledge_limit_hits", "Limits that a function or driver met, by the name of the limit", self.limit_hits.clone());
        registry.register("ledge_denials", "Calls that no grant covered, by the grant that would", self.denials.clone());
        let running = Family::<FunctionLabels, Gauge>::default();
        registry.register("ledge_running_invocations", "Invocations that run now", running.clone());
        let breakers = Family::<FunctionLabels, Gauge>::default();
        registry.register("ledge_breaker_open", "Whether callers of a function are refused because it failed too often", breakers.clone());
        let restarts = Family::<DriverLabels, Gauge>::default();
        registry.register("ledge_driver_restarts", "How often a driver was started again since it was deployed", restarts.clone());
        let drivers_up = Family::<DriverLabels, Gauge>::default();
        registry.register("ledge_driver_up", "Whether a driver runs now", drivers_up.clone());
        let persistent_restarts = Family::<FunctionLabels, Gauge>::default();
        let text = "How often a persistent function was started again since it was deployed";
        registry.register("ledge_persistent_restarts", text, persistent_restarts.clone());
        let persistents_up = Family::<FunctionLabels, Gauge>::default();
        registry.register("ledge_persistent_up", "Whether a persistent function runs now", persistents_up.clone());
        let queued: Gauge = Gauge::default();
        registry.register("ledge_queued_invocations", "Async invocations that were accepted and have not ended", queued.clone());
        registry.register("ledge_open_connections", "Connections that are served now", self.open_connections.clone());
        let text = "Connections that were turned away, by the bound that they met";
        registry.register("ledge_connections_turned_away", text, self.turned_away.clone());
        for (name, text, count) in [
            ("ledge_password_hashes", "Passwords that were hashed, to look at them or to set them", readings.password_hashes),
            ("ledge_failed_logins", "Logins and requests whose password or signature was wrong", readings.failed_logins),
            ("ledge_throttled_logins", "Passwords that were not looked at, since too many before were wrong", readings.throttled_logins),
            ("ledge_denied_requests", "Requests for what their user may not do", readings.denied_requests),
        ] {
            let counter: Counter = Counter::default();
            counter.inc_by(count);
            registry.register(name, text, counter);
        }

        for FunctionReading { name, running: now, is_open, counted } in readings.functions {
            let labels = FunctionLabels { function: name.clone() };
            running.get_or_create(&labels).set(i64::from(now));
            breakers.get_or_create(&labels).set(i64::from(is_open));
            seconds.get_or_create(&labels).inc_by(counted.seconds());
            let outcomes = [
                (Ended::done, &counted.done),
                (Ended::handled_error, &counted.handled),
                (Ended::unhandled_error, &counted.unhandled),
                (Ended::refused, &counted.refused),
            ];
            for (outcome, count) in outcomes {
                invocations.get_or_create(&InvocationLabels { function: name.clone(), outcome }).inc_by(count.get());
            }
        }
        for (driver, times, is_up) in readings.drivers {
            let labels = DriverLabels { driver };
            restarts.get_or_create(&labels).set(i64::try_from(times).unwrap_or(i64::MAX));
            drivers_up.get_or_create(&labels).set(i64::from(is_up));
        }
        for (function, times, is_up) in readings.persistents {
            let labels = FunctionLabels { function };
            persistent_restarts.get_or_create(&labels).set(i64::try_from(times).unwrap_or(i64::MAX));
            persistents_up.get_or_create(&labels).set(i64::from(is_up));
        }
        queued.set(i64::try_from(readings.queued).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes every write");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_there_under_its_name() {
        let metrics = Metrics::default();
        let counted = Arc::<FunctionMetrics>::default();
        counted.done.inc();
        counted.took(Duration::from_millis(1_500));
        counted.done.inc();
        metrics.limit_hit("function a/b", "cpu_ms");
        metrics.denied("driver x", "tcp");
        let connections = metrics.connections("api");
        connections.open.inc();
        connections.beyond_all.inc();
        let function = FunctionReading { name: "a/b".into(), running: 3, is_open: true, counted };
        let text = metrics.text(Readings {
            functions: vec![function],
            drivers: vec![("x".into(), 2, false)],
            persistents: vec![("a/c".into(), 1, true)],
            queued: 7,
            password_hashes: 5,
            denied_requests: 1,
            failed_logins: 2,
            throttled_logins: 3,
        });
        for line in [
            r#"ledge_invocations_total{function="a/b",outcome="done"} 2"#,
            r#"ledge_invocation_seconds_total{function="a/b"} 1.5"#,
            r#"ledge_limit_hits_total{guest="function a/b",limit="cpu_ms"} 1"#,
            r#"ledge_denials_total{guest="driver x",grant="tcp"} 1"#,
            r#"ledge_running_invocations{function="a/b"} 3"#,
            r#"ledge_breaker_open{function="a/b"} 1"#,
            r#"ledge_driver_restarts{driver="x"} 2"#,
            r#"ledge_driver_up{driver="x"} 0"#,
            r#"ledge_persistent_restarts{function="a/c"} 1"#,
            r#"ledge_persistent_up{function="a/c"} 1"#,
            "ledge_queued_invocations 7",
            "ledge_password_hashes_total 5",
            "ledge_denied_requests_total 1",
            "ledge_failed_logins_total 2",
            "ledge_throttled_logins_total 3",
            r#"ledge_open_connections{listener="api"} 1"#,
            r#"ledge_connections_turned_away_total{listener="api",bound="address"} 0"#,
            r#"ledge_connections_turned_away_total{listener="api",bound="all"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

//! Who has to wait before a connection is made or used for them: all, where the server takes none; else only the unit that broke the last.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::Settings;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    server: Pause,
    units: BTreeMap<u8, Pause>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pause {
    backoff: Backoff,
    until: Duration,
}

impl Pauses {
    /// The server took no connection.
    pub fn refused(&mut self, settings: &Settings, now: Duration) {
        self.server.begin(settings, now);
    }

    /// The server took one.
    pub fn connected(&mut self) {
        self.server = Pause::default();
    }

    /// A connection broke that had brought nothing, when this unit was asked.
    pub fn broke(&mut self, unit: u8, settings: &Settings, now: Duration) {
        self.units.entry(unit).or_default().begin(settings, now);
    }

    /// The unit has answered.
    pub fn answered(&mut self, unit: u8) {
        self.units.remove(&unit);
    }

    /// Until when the unit has to wait, by the driver's clock.
    pub fn until(&self, unit: u8) -> Duration {
        self.units.get(&unit).map_or(self.server.until, |pause| pause.until.max(self.server.until))
    }
}

impl Pause {
    fn begin(&mut self, settings: &Settings, now: Duration) {
        self.until = now + self.backoff.next(settings.backoff_min, settings.backoff_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn settings() -> Settings {
        Settings { backoff_min: ms(100), backoff_max: ms(400), ..Settings::default() }
    }

    #[test]
    fn a_unit_that_breaks_connections_waits_alone_and_longer_each_time() {
        let (mut pauses, settings) = (Pauses::default(), settings());
        let waits = [0, 1_000, 2_000, 3_000].map(|now| {
            pauses.broke(2, &settings, ms(now));
            // A connection that is made for a neighbour is no sign of it.
            pauses.connected();
            pauses.answered(1);
            (pauses.until(2) - ms(now), pauses.until(1))
        });
        assert_eq!(waits, [100, 200, 400, 400].map(|wait| (ms(wait), ms(0))));
        pauses.answered(2);
        assert_eq!(pauses.until(2), ms(0));
        pauses.broke(2, &settings, ms(5_000));
        assert_eq!(pauses.until(2), ms(5_100));
    }

    #[test]
    fn where_the_server_takes_no_connection_all_wait() {
        let (mut pauses, settings) = (Pauses::default(), settings());
        pauses.broke(2, &settings, ms(0));
        pauses.refused(&settings, ms(50));
        assert_eq!((pauses.until(1), pauses.until(2)), (ms(150), ms(150)));
        pauses.refused(&settings, ms(150));
        assert_eq!(pauses.until(1), ms(350));
        pauses.connected();
        assert_eq!((pauses.until(1), pauses.until(2)), (ms(0), ms(100)));
    }
}

//! Whether a device answers: it is offline once it has missed too many requests, and then it is asked less and less often.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::Settings;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// `None`: it was not heard of yet.
    is_online: Option<bool>,
    misses: u32,
    backoff: Backoff,
    /// Not to be asked before.
    pub pause_until: Duration,
}

/// What became of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    Online,
    Offline,
}

impl Presence {
    pub fn is_online(&self) -> bool {
        self.is_online == Some(true)
    }

    /// It has answered.
    pub fn answered(&mut self) -> Option<Became> {
        let was_online = self.is_online();
        *self = Self { is_online: Some(true), ..Self::default() };
        (!was_online).then_some(Became::Online)
    }

    /// It has not answered in time, or nothing that makes sense.
    pub fn missed(&mut self, settings: &Settings, now: Duration) -> Option<Became> {
        self.misses += 1;
        self.pause_until = now + self.backoff.next(settings.backoff_min, settings.backoff_max);
        match self.is_online {
            Some(true) if self.misses < settings.offline_after => {
                // Soon again, whatever its interval: it is to be known whether it is there.
                self.pause_until = now + settings.backoff_min;
                None
            }
            Some(false) => None,
            Some(true) | None => {
                self.is_online = Some(false);
                Some(Became::Offline)
            }
        }
    }

    /// There is no connection to it.
    pub fn unreachable(&mut self) -> Option<Became> {
        let was_offline = self.is_online == Some(false);
        *self = Self { is_online: Some(false), ..Self::default() };
        (!was_offline).then_some(Became::Offline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let ms = Duration::from_millis;
        Settings { backoff_min: ms(100), backoff_max: ms(400), offline_after: 3, ..Settings::default() }
    }

    #[test]
    fn a_device_goes_offline_after_so_many_misses_and_comes_back_with_one_answer() {
        let (mut presence, settings) = (Presence::default(), settings());
        assert_eq!(presence.answered(), Some(Became::Online));
        assert_eq!(presence.answered(), None);
        let missed: Vec<_> = (0..4).map(|_| presence.missed(&settings, Duration::ZERO)).collect();
        assert_eq!(missed, [None, None, Some(Became::Offline), None]);
        assert_eq!(presence.pause_until, Duration::from_millis(400));
        assert_eq!(presence.answered(), Some(Became::Online));
        assert_eq!(presence.pause_until, Duration::ZERO);
    }

    #[test]
    fn misses_count_only_one_after_another() {
        let (mut presence, settings) = (Presence::default(), settings());
        presence.answered();
        for _ in 0..5 {
            assert_eq!(presence.missed(&settings, Duration::ZERO), None);
            assert_eq!(presence.missed(&settings, Duration::ZERO), None);
            presence.answered();
        }
    }

    #[test]
    fn who_never_answered_is_offline_at_once() {
        let mut presence = Presence::default();
        assert_eq!(presence.missed(&settings(), Duration::ZERO), Some(Became::Offline));
        assert_eq!(presence.unreachable(), None);
        assert_eq!(Presence::default().unreachable(), Some(Became::Offline));
    }
}

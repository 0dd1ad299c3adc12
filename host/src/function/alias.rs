//! Names that lead to versions by weight.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::name::FunctionName;

/// The aliases of every service, by service and name.
#[derive(Default)]
pub struct Aliases(HashMap<(String, String), Target>);

struct Target {
    version: String,
    also: Option<(String, u8)>,
    calls: AtomicU32,
}

/// As far from any fraction as a step can be: calls that go elsewhere lie evenly among the others, however few they are.
const STEP: u32 = 61;

impl Aliases {
    /// `also`: another version, and how many of a hundred calls go there.
    pub fn add(&mut self, service: &str, name: &str, version: u32, also: Option<(u32, u8)>) {
        let target = Target {
            version: version.to_string(),
            also: also.map(|(also, percent)| (also.to_string(), percent)),
            calls: AtomicU32::new(0),
        };
        self.0.insert((service.to_owned(), name.to_owned()), target);
    }

    /// Where calls of a name with an alias go.
    pub fn all(&self, name: &FunctionName) -> Vec<FunctionName> {
        let (base, qualifier) = (name.base(), name.qualifier().unwrap_or_default());
        let Some(target) = self.0.get(&(base.service().to_owned(), qualifier.to_owned())) else { return Vec::new() };
        let also = target.also.iter().map(|(also, _)| also);
        std::iter::once(&target.version).chain(also).map(|version| base.qualified(version)).collect()
    }

    /// Where the next call of a name with an alias goes.
    pub fn next(&self, name: &FunctionName) -> Option<FunctionName> {
        let (base, qualifier) = (name.base(), name.qualifier()?);
        let target = self.0.get(&(base.service().to_owned(), qualifier.to_owned()))?;
        let version = match &target.also {
            None => &target.version,
            Some((also, percent)) => {
                let call = target.calls.fetch_add(1, Ordering::Relaxed) % 100;
                if call * STEP % 100 < u32::from(*percent) { also } else { &target.version }
            }
        };
        Some(base.qualified(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_calls_so_many_go_elsewhere_and_they_lie_evenly() {
        for percent in [1, 10, 50, 99] {
            let mut aliases = Aliases::default();
            aliases.add("a", "live", 3, Some((4, percent)));
            let name: FunctionName = "a.live/f".parse().unwrap();
            let calls: Vec<bool> = (0..100).map(|_| aliases.next(&name).unwrap().to_string() == "a.4/f").collect();
            assert_eq!(calls.iter().filter(|is_also| **is_also).count(), usize::from(percent));
            if percent == 10 {
                assert!(calls.chunks(25).all(|quarter| quarter.iter().any(|is_also| *is_also)), "{calls:?}");
            }
        }
        let none: FunctionName = "a.other/f".parse().unwrap();
        assert_eq!(Aliases::default().next(&none), None);
    }
}

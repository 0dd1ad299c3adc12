//! Components against products: whether a product has what the components that were built for it use of it (`ledge bindgen`).

use std::collections::HashMap;
use std::sync::Arc;

use super::State;
use crate::runtime::Kind;
use crate::set::{self, Digest};
use crate::thing::Product;
use crate::thing::tsl::{Tsl, Uses};

/// What has to be looked at after a change.
pub struct Changed {
    components: Vec<Component>,
}

/// Who has a component.
struct Component {
    /// As in "function `EdgeFC/hello`".
    who: String,
    digest: Digest,
    kind: Kind,
    /// Whether it was there before, so that only what has changed about its products is anybody's doing now.
    is_old: bool,
    /// What to do where it does not fit.
    advice: &'static str,
}

/// Misfits that are told of one component.
const MISFITS_MAX: usize = 10;
const BUILD_AGAIN: &str = "run `ledge bindgen` again";
/// A published version never changes.
const DELETE_VERSION: &str = "delete that version, or leave the product as it is";

impl Changed {
    /// New components, and all of them where a product is another one now.
    pub(super) fn between(before: &State, after: &State) -> Self {
        let (old, new) = (&before.set.products, &after.set.products);
        // In whatever order.
        let is_same = old.len() == new.len() && new.iter().all(|row| old.contains(row));
        let functions = after.set.functions.iter().map(|row| Component {
            who: format!("function `{}`", row.name),
            digest: row.component.clone(),
            kind: Kind::of_function(row),
            is_old: before.set.functions.iter().any(|old| old.name == row.name && old.component == row.component),
            advice: BUILD_AGAIN,
        });
        let drivers = after.set.drivers.iter().map(|row| Component {
            who: format!("driver `{}`", row.name),
            digest: row.component.clone(),
            kind: Kind::Driver,
            is_old: before.set.drivers.iter().any(|old| old.name == row.name && old.component == row.component),
            advice: BUILD_AGAIN,
        });
        // What is published was deployed a moment ago, or longer.
        let versions = after.versions.rows().map(|row| Component {
            who: format!("function `{}`", row.name),
            kind: Kind::of_function(&row),
            digest: row.component,
            is_old: true,
            advice: DELETE_VERSION,
        });
        Self { components: functions.chain(drivers).chain(versions).filter(|component| !(is_same && component.is_old)).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Each misfit with whose it is. A component that did not fit before, as after going back, is left at that.
    pub fn misfits(
        &self,
        before: &[set::Product],
        products: &[Arc<Product>],
        uses: impl Fn(&Digest, Kind) -> anyhow::Result<Vec<Uses>>,
    ) -> Vec<String> {
        let now: HashMap<&str, &Tsl> = products.iter().map(|product| (product.row.key.as_str(), &product.tsl)).collect();
        let mut earlier = Earlier { rows: before, parsed: HashMap::new() };
        let mut misfits = Vec::new();
        for Component { who, digest, kind, is_old, advice } in &self.components {
            let uses = match uses(digest, *kind) {
                Ok(uses) => uses,
                // It is left out already, loudly, since its component is gone or damaged.
                Err(_) if *is_old => continue,
                Err(error) => {
                    misfits.push(format!("{who}: {error:#}"));
                    continue;
                }
            };
            let new = uses.iter().flat_map(|uses| {
                let known = if *is_old { uses.misfits(earlier.tsl(&uses.product)) } else { Vec::new() };
                let found = uses.misfits(now.get(uses.product.as_str()).copied());
                found.into_iter().filter(move |misfit| !known.contains(misfit))
            });
            misfits.extend(new.take(MISFITS_MAX).map(|misfit| format!("{who}: it {misfit}; {advice}")));
        }
        misfits
    }
}

/// The products that were there before, parsed when somebody asks for one.
struct Earlier<'a> {
    rows: &'a [set::Product],
    parsed: HashMap<String, Option<Tsl>>,
}

impl Earlier<'_> {
    fn tsl(&mut self, key: &str) -> Option<&Tsl> {
        let parse = || self.rows.iter().find(|row| row.key == key).and_then(|row| Tsl::parse(&row.tsl).ok());
        self.parsed.entry(key.to_owned()).or_insert_with(parse).as_ref()
    }
}

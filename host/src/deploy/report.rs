//! What a deployment changed, for people and for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::State;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeployReport)]
pub struct Report {
    pub entries: Vec<Entry>,
    /// Components that had to be compiled; the others were compiled before.
    pub compiled: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeployEntry)]
pub struct Entry {
    pub kind: String,
    pub name: String,
    pub change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeployChange)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    New,
    Changed,
    Unchanged,
    Removed,
}

impl Report {
    pub(super) fn between(before: &State, after: &State) -> Self {
        let (old, new) = (&before.versions, &after.versions);
        let services = |state: &State| state.notes.services.clone().into_iter().collect::<Vec<_>>();
        let (old_services, new_services) = (services(before), services(after));
        let (before, after) = (&before.set, &after.set);
        let mut entries = Vec::new();
        compare("product", &before.products, &after.products, |row| row.key.clone(), &mut entries);
        compare("thing", &before.things, &after.things, |row| format!("{}/{}", row.product_key, row.device_name), &mut entries);
        compare("driver", &before.drivers, &after.drivers, |row| row.name.clone(), &mut entries);
        compare("function", &before.functions, &after.functions, |row| row.name.to_string(), &mut entries);
        compare("route", &before.routes, &after.routes, |row| format!("{}, {} -> {}", row.source, row.topic, row.target), &mut entries);
        compare("rule", &before.rules, &after.rules, |row| row.name.clone(), &mut entries);
        let mut kept = Vec::new();
        compare("version", &old.published, &new.published, |row| format!("{} {}", row.service, row.number), &mut kept);
        compare("service", &old_services, &new_services, |(name, _)| name.clone(), &mut kept);
        compare("alias", &old.aliases, &new.aliases, |row| format!("{}.{}", row.service, row.name), &mut kept);
        // A deployment leaves them alone, and need not say so.
        entries.extend(kept.into_iter().filter(|entry| entry.change != Change::Unchanged));
        Self { entries, compiled: 0 }
    }

    pub fn is_unchanged(&self) -> bool {
        self.entries.iter().all(|entry| entry.change == Change::Unchanged)
    }

    /// One line: how many entries are new, changed, removed and unchanged.
    pub fn summary(&self) -> String {
        let count = |change| self.entries.iter().filter(|entry| entry.change == change).count();
        format!(
            "{} new, {} changed, {} removed, {} unchanged; {} compiled",
            count(Change::New),
            count(Change::Changed),
            count(Change::Removed),
            count(Change::Unchanged),
            self.compiled
        )
    }

    /// The same with what is not unchanged, by name.
    pub fn changes(&self) -> String {
        if self.is_unchanged() {
            return "nothing that runs: descriptions, or what was left out before".to_owned();
        }
        let changed = self.entries.iter().filter(|entry| entry.change != Change::Unchanged);
        let named = changed.map(|entry| format!("{} {} {}", entry.kind, entry.name, entry.change.name()));
        format!("{}: {}", self.summary(), named.collect::<Vec<_>>().join("; "))
    }
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        }
    }
}

fn compare<T: PartialEq>(kind: &str, before: &[T], after: &[T], name: impl Fn(&T) -> String, entries: &mut Vec<Entry>) {
    let mut add = |name: String, change| entries.push(Entry { kind: kind.to_owned(), name, change });
    let mut gone: BTreeMap<String, &T> = before.iter().map(|row| (name(row), row)).collect();
    for row in after {
        let change = match gone.remove(&name(row)) {
            None => Change::New,
            Some(old) if old == row => Change::Unchanged,
            Some(_) => Change::Changed,
        };
        add(name(row), change);
    }
    for name in gone.into_keys() {
        add(name, Change::Removed);
    }
}

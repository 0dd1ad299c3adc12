//! What a gateway keeps of functions besides what is deployed: published versions of services, aliases that lead to them, and, of each
//! function, what was deployed before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grant::Grants;
use crate::name::{FunctionName, check_alias};
use crate::set::{self, Set};
use crate::store::{Batch, Store, Table};

/// Of each function so many earlier ones are kept.
pub const PAST_MAX: usize = 2;
/// Versions of one service.
pub const VERSIONS_MAX: usize = 100;
const ALIASES_MAX: usize = 100;
const WENT_BACK: &str = "went_back";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Versions {
    pub published: Vec<Version>,
    pub aliases: Vec<Alias>,
    /// The last ones first.
    pub past: BTreeMap<FunctionName, Vec<Past>>,
    /// Functions that went back by themselves since they were deployed, with when and why, in words.
    pub went_back: BTreeMap<FunctionName, String>,
    /// The last number of each service: none is given twice.
    last: BTreeMap<String, u32>,
}

/// The functions of a service as they were when somebody published them. They never change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub service: String,
    /// From 1.
    pub number: u32,
    pub description: String,
    /// Milliseconds since 1970.
    pub published_ms: u64,
    pub functions: Vec<set::Function>,
}

/// A name for a version, or for two of them by weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    pub service: String,
    pub name: String,
    pub version: u32,
    /// Another version, and how many of a hundred calls go there: 1 to 99.
    #[serde(default)]
    pub also: Option<(u32, u8)>,
}

/// What was deployed before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    pub row: set::Function,
    /// When something else took its place, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Why versions or aliases are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("nothing of a service `{0}` is deployed; `ledge list functions` shows what is")]
    NoService(String),
    #[error("service `{0}` has no version {1}; `ledge list versions` shows those that there are")]
    NoVersion(String, u32),
    #[error("service `{0}` has no alias `{1}`; `ledge list aliases` shows those that there are")]
    NoAlias(String, String),
    #[error("service `{service}`: version {number} is in use by {user}; change that first")]
    InUse { service: String, number: u32, user: String },
    #[error("service `{0}` has {VERSIONS_MAX} versions; delete some first")]
    TooManyVersions(String),
    #[error("there are {ALIASES_MAX} aliases; delete some first")]
    TooManyAliases,
    #[error("{0}")]
    Alias(String),
    #[error("function `{0}` is not deployed; `ledge list functions` shows those that are")]
    NoFunction(FunctionName),
    #[error("function `{0}` has nothing to go back to: nothing else was deployed before it")]
    NothingBefore(FunctionName),
}

impl Versions {
    /// The functions of every version, each under the name by which it is called, and without what would start it by itself.
    pub fn rows(&self) -> impl Iterator<Item = set::Function> {
        self.published.iter().flat_map(|version| {
            let row = |row: &set::Function| {
                let name = row.name.qualified(&version.number.to_string());
                set::Function { name, timers: Vec::new(), http: None, health: None, ..row.clone() }
            };
            // What answers HTTP requests alone is not called by a name.
            version.functions.iter().filter(|row| row.http.is_none()).map(row)
        })
    }

    /// Every row of a function that may run again.
    pub fn kept(&self) -> impl Iterator<Item = &set::Function> {
        let published = self.published.iter().flat_map(|version| &version.functions);
        published.chain(self.past.values().flatten().map(|past| &past.row))
    }

    /// The grants of all of them, with the name that people know it by.
    pub fn grants(&mut self) -> impl Iterator<Item = (String, &mut Grants)> {
        let published = self.published.iter_mut().flat_map(|version| &mut version.functions);
        let rows = published.chain(self.past.values_mut().flatten().map(|past| &mut past.row));
        rows.map(|row| (format!("function {}", row.name), std::sync::Arc::make_mut(&mut row.grants)))
    }

    /// Publishes what is deployed of a service. Its number.
    pub fn publish(&mut self, set: &Set, service: &str, description: &str, now_ms: u64) -> Result<u32, VersionError> {
        let functions: Vec<_> = set.functions.iter().filter(|row| row.name.service() == service).cloned().collect();
        if functions.is_empty() {
            return Err(VersionError::NoService(service.to_owned()));
        }
        if self.published.iter().filter(|version| version.service == service).count() >= VERSIONS_MAX {
            return Err(VersionError::TooManyVersions(service.to_owned()));
        }
        let last = self.last.entry(service.to_owned()).or_default();
        *last += 1;
        let number = *last;
        let (service, description) = (service.to_owned(), description.to_owned());
        self.published.push(Version { service, number, description, published_ms: now_ms, functions });
        Ok(number)
    }

    /// Deletes a version that nothing leads to.
    pub fn delete(&mut self, service: &str, number: u32) -> Result<(), VersionError> {
        let at = self.position(service, number)?;
        let leads_here =
            |alias: &&Alias| alias.service == service && (alias.version == number || alias.also.is_some_and(|(also, _)| also == number));
        if let Some(alias) = self.aliases.iter().find(leads_here) {
            return Err(VersionError::InUse { service: service.to_owned(), number, user: format!("alias `{}`", alias.name) });
        }
        self.published.remove(at);
        Ok(())
    }

    fn position(&self, service: &str, number: u32) -> Result<usize, VersionError> {
        let found = self.published.iter().position(|version| version.service == service && version.number == number);
        found.ok_or_else(|| VersionError::NoVersion(service.to_owned(), number))
    }

    /// Adds an alias, or changes the one of that name.
    pub fn set_alias(&mut self, alias: Alias) -> Result<(), VersionError> {
        check_alias(&alias.name).map_err(|wrong| VersionError::Alias(wrong.to_string()))?;
        self.position(&alias.service, alias.version)?;
        if let Some((also, percent)) = alias.also {
            self.position(&alias.service, also)?;
            if !(1..=99).contains(&percent) || also == alias.version {
                let wrong = "expected another version, and 1 to 99 of a hundred calls for it";
                return Err(VersionError::Alias(format!("alias `{}`: {wrong}", alias.name)));
            }
        }
        self.aliases.retain(|old| (&old.service, &old.name) != (&alias.service, &alias.name));
        if self.aliases.len() >= ALIASES_MAX {
            return Err(VersionError::TooManyAliases);
        }
        self.aliases.push(alias);
        self.aliases.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        Ok(())
    }

    pub fn delete_alias(&mut self, service: &str, name: &str) -> Result<(), VersionError> {
        let before = self.aliases.len();
        self.aliases.retain(|alias| (alias.service.as_str(), alias.name.as_str()) != (service, name));
        if self.aliases.len() < before { Ok(()) } else { Err(VersionError::NoAlias(service.to_owned(), name.to_owned())) }
    }

    /// Whether a function is there under a name with a qualifier.
    pub fn has(&self, name: &FunctionName) -> bool {
        let (base, Some(qualifier)) = (name.base(), name.qualifier()) else { return false };
        let numbers: Vec<u32> = match qualifier.parse() {
            Ok(number) => vec![number],
            Err(_) => {
                let alias = self.aliases.iter().find(|alias| alias.service == base.service() && alias.name == qualifier);
                alias.map(|alias| std::iter::once(alias.version).chain(alias.also.map(|(also, _)| also)).collect()).unwrap_or_default()
            }
        };
        let in_version = |number: &u32| {
            let version = self.published.iter().find(|version| version.service == base.service() && version.number == *number);
            version.is_some_and(|version| version.functions.iter().any(|row| row.name == base && row.http.is_none()))
        };
        !numbers.is_empty() && numbers.iter().all(in_version)
    }

    /// Keeps what a deployment puts something else in place of.
    pub fn remember(&mut self, before: &Set, after: &Set, now_ms: u64) {
        for row in &after.functions {
            let changed = before.functions.iter().find(|old| old.name == row.name).filter(|old| *old != row);
            if let Some(old) = changed {
                let past = self.past.entry(row.name.clone()).or_default();
                past.insert(0, Past { row: old.clone(), until_ms: now_ms });
                past.truncate(PAST_MAX);
            }
        }
        let is_there = |name: &FunctionName| after.functions.iter().any(|row| row.name == *name);
        self.past.retain(|name, _| is_there(name));
        self.went_back.retain(|name, _| is_there(name));
    }

    /// Takes the last one that was deployed before.
    pub fn take_past(&mut self, name: &FunctionName) -> Result<set::Function, VersionError> {
        let nothing = || VersionError::NothingBefore(name.clone());
        let past = self.past.get_mut(name).filter(|past| !past.is_empty()).ok_or_else(nothing)?;
        Ok(past.remove(0).row)
    }

    pub fn read(store: &Store) -> anyhow::Result<Self> {
        let rows = |table| store.list(table);
        let mut versions = Self::default();
        for (_, row) in rows(Table::Versions)? {
            versions.published.push(serde_json::from_slice(&row)?);
        }
        versions.published.sort_by(|a, b| (&a.service, a.number).cmp(&(&b.service, b.number)));
        for (_, row) in rows(Table::Aliases)? {
            versions.aliases.push(serde_json::from_slice(&row)?);
        }
        for (name, row) in rows(Table::Past)? {
            versions.past.insert(name.parse()?, serde_json::from_slice(&row)?);
        }
        versions.went_back = store.get_json(Table::Meta, WENT_BACK)?.unwrap_or_default();
        versions.last = store.list_json(Table::VersionNumbers)?.into_iter().collect();
        Ok(versions)
    }

    pub fn write(&self, batch: &mut Batch) -> anyhow::Result<()> {
        for table in [Table::Versions, Table::Aliases, Table::Past, Table::VersionNumbers] {
            batch.clear(table);
        }
        for version in &self.published {
            batch.put_json(Table::Versions, format!("{}/{}", version.service, version.number), version)?;
        }
        for alias in &self.aliases {
            batch.put_json(Table::Aliases, format!("{}/{}", alias.service, alias.name), alias)?;
        }
        for (name, past) in &self.past {
            batch.put_json(Table::Past, name.to_string(), past)?;
        }
        batch.put_json(Table::Meta, WENT_BACK, &self.went_back)?;
        for (service, last) in &self.last {
            batch.put_json(Table::VersionNumbers, service.clone(), last)?;
        }
        Ok(())
    }
}

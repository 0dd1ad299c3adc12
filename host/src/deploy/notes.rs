//! What people said of services, functions, aliases and triggers by way of the Function Compute API, beyond what is deployed of them. It
//! is answered as it was given, and changes nothing of what runs. A service is here, too, while it has no functions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Versions;
use crate::name::FunctionName;
use crate::set::{Digest, Route, Set};
use crate::store::{Batch, Store, Table};

const ROW: &str = "notes";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    pub services: BTreeMap<String, Note>,
    pub functions: BTreeMap<FunctionName, FunctionNote>,
    /// Under `service.alias`.
    pub aliases: BTreeMap<String, Note>,
    /// Under `service/function/trigger`.
    pub triggers: BTreeMap<String, Note>,
    /// Which route a trigger is, under the same. Its QoS is not looked at.
    pub routes: BTreeMap<String, Route>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub description: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    pub modified_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionNote {
    #[serde(flatten)]
    pub note: Note,
    pub runtime: String,
    pub handler: String,
    pub instance_concurrency: Option<u32>,
    pub code: Option<CodeNote>,
    /// What its HTTP trigger is called, if it was made as one.
    pub http_trigger: Option<String>,
}

/// The package that a component came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeNote {
    pub component: Digest,
    pub bytes: u64,
    /// CRC-64, in decimal.
    pub checksum: String,
}

impl Note {
    pub fn new(description: String, now_ms: u64) -> Self {
        Self { description, created_ms: now_ms, modified_ms: now_ms }
    }
}

impl Notes {
    /// Whether there is such a service, with functions or without.
    pub fn has_service(&self, set: &Set, service: &str) -> bool {
        self.services.contains_key(service) || set.functions.iter().any(|row| row.name.service() == service)
    }

    /// Drops those of what is not there any more, in whatever way it went.
    pub fn forget_gone(&mut self, set: &Set, versions: &Versions) {
        let find = |name: &FunctionName| set.functions.iter().find(|row| row.name == *name);
        self.functions.retain(|name, _| find(name).is_some());
        for (name, note) in &mut self.functions {
            note.http_trigger.take_if(|_| find(name).is_some_and(|row| row.http.is_none()));
        }
        self.aliases.retain(|key, _| versions.aliases.iter().any(|alias| format!("{}.{}", alias.service, alias.name) == *key));
        self.routes.retain(|_, noted| set.routes.iter().any(|row| row.is_between_the_same(noted)));
        self.triggers.retain(|key, _| {
            let (name, trigger) = key.rsplit_once('/').unwrap_or_default();
            let row = name.parse().ok().and_then(|name| find(&name));
            row.is_some_and(|row| {
                let is_http = self.functions.get(&row.name).is_some_and(|note| note.http_trigger.as_deref() == Some(trigger));
                is_http || self.routes.contains_key(key) || row.timers.iter().any(|timer| timer.name == trigger)
            })
        });
    }

    pub fn read(store: &Store) -> anyhow::Result<Self> {
        Ok(store.get_json(Table::Meta, ROW)?.unwrap_or_default())
    }

    pub fn write(&self, batch: &mut Batch) -> anyhow::Result<()> {
        batch.put_json(Table::Meta, ROW, self)
    }
}

//! What a player has to know of its product's TSL.

use std::collections::BTreeSet;

use ledge_sdk::serde_json::{self, Value as Json};

/// The services that steer a player, where a product has them.
pub const SERVICES: [&str; 3] = ["pause", "resume", "seek"];

#[derive(Clone, Debug, Default)]
pub struct Model {
    properties: BTreeSet<String>,
    is_controlled: bool,
}

impl Model {
    pub fn parse(tsl: &str) -> Result<Self, String> {
        let tsl: Json = serde_json::from_str(tsl).map_err(|error| format!("the product's TSL is no JSON: {error}"))?;
        let identifiers = |list: &str| -> Vec<String> {
            let members = tsl[list].as_array().into_iter().flatten();
            members.filter_map(|member| member["identifier"].as_str().map(str::to_owned)).collect()
        };
        let is_controlled = identifiers("services").iter().any(|service| SERVICES.contains(&service.as_str()));
        Ok(Self { properties: identifiers("properties").into_iter().collect(), is_controlled })
    }

    pub fn has_property(&self, name: &str) -> bool {
        self.properties.contains(name)
    }

    /// Whether somebody may steer it while it waits.
    pub fn is_controlled(&self) -> bool {
        self.is_controlled
    }
}

//! What a player has to know of its product's TSL.

use std::collections::BTreeSet;

use ledge_sdk::serde_json::{self, Value as Json};

/// The services that steer a player, where a product has them.
const SERVICES: [&str; 3] = ["pause", "resume", "seek"];
/// Those of them that make it begin again at its end.
const BEGIN_AGAIN: [&str; 2] = ["resume", "seek"];

#[derive(Clone, Debug, Default)]
pub struct Model {
    properties: BTreeSet<String>,
    is_controlled: bool,
    can_begin_again: bool,
}

impl Model {
    pub fn parse(tsl: &str) -> Result<Self, String> {
        let tsl: Json = serde_json::from_str(tsl).map_err(|error| format!("the product's TSL is no JSON: {error}"))?;
        let identifiers = |list: &str| -> Vec<String> {
            let members = tsl[list].as_array().into_iter().flatten();
            members.filter_map(|member| member["identifier"].as_str().map(str::to_owned)).collect()
        };
        let services = identifiers("services");
        let has_one_of = |names: &[&str]| services.iter().any(|service| names.contains(&service.as_str()));
        Ok(Self {
            properties: identifiers("properties").into_iter().collect(),
            is_controlled: has_one_of(&SERVICES),
            can_begin_again: has_one_of(&BEGIN_AGAIN),
        })
    }

    pub fn has_property(&self, name: &str) -> bool {
        self.properties.contains(name)
    }

    /// Whether somebody may steer it while it waits.
    pub fn is_controlled(&self) -> bool {
        self.is_controlled
    }

    /// Whether somebody may let it begin again at its end.
    pub fn can_begin_again(&self) -> bool {
        self.can_begin_again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_be_steered_and_begin_again_is_said_by_the_services() {
        for (services, is_controlled, can_begin_again) in [
            ("", false, false),
            (r#"{"identifier": "set"}"#, false, false),
            (r#"{"identifier": "pause"}"#, true, false),
            (r#"{"identifier": "pause"}, {"identifier": "resume"}"#, true, true),
            (r#"{"identifier": "seek"}"#, true, true),
        ] {
            let model = Model::parse(&format!(r#"{{"properties": [{{"identifier": "A"}}], "services": [{services}]}}"#)).unwrap();
            assert!(model.has_property("A") && !model.has_property("B"));
            assert_eq!((model.is_controlled(), model.can_begin_again()), (is_controlled, can_begin_again), "{services}");
        }
    }
}

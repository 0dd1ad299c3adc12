//! Triggers that are routes: messages of devices, of functions or of rules start the function.
//!
//! A route has no name of its own. One that was made or changed here has the name of its trigger (`Notes::routes`); any other is called after
//! what it joins, so that it has the same name for as long as it is there.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::key;
use crate::api::error::ApiError;
use crate::api::function_compute::conflict;
use crate::deploy::State;
use crate::name::{FunctionName, check_rule};
use crate::set::{Digest, Qos, Route, RouteSource, RouteTopic};

/// The members of a route, but for its target, as a manifest has them.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    source: RouteSource,
    #[serde(default = "all")]
    topic: String,
    #[serde(default)]
    qos: Qos,
}

fn all() -> String {
    RouteTopic::All.to_string()
}

impl RouteConfig {
    fn to(self, target: FunctionName) -> Result<Route, ApiError> {
        let wrong = |what: &str, wrong: String| ApiError::bad_request(format!("`triggerConfig` of a trigger `route`: `{what}`: {wrong}"));
        if let RouteSource::Rule(name) = &self.source {
            check_rule(name).map_err(|error| wrong("source", error.to_string()))?;
        }
        let topic = RouteTopic::parse(&self.topic).map_err(|error| wrong("topic", error.to_string()))?;
        Ok(Route { source: self.source, topic, target, qos: self.qos })
    }
}

pub fn config(route: &Route) -> Json {
    json!({"source": route.source, "topic": route.topic.to_string(), "qos": route.qos})
}

/// The routes that lead to a function, also to versions of it, with their names.
pub fn of<'a>(state: &'a State, function: &FunctionName) -> impl Iterator<Item = (String, &'a Route)> {
    let leads_there = |route: &&Route| route.target.base() == *function;
    state.set.routes.iter().filter(leads_there).map(|route| (name(state, route), route))
}

fn name(state: &State, route: &Route) -> String {
    let noted = state.notes.routes.iter().find(|(_, noted)| noted.is_between_the_same(route));
    let own = noted.and_then(|(key, _)| key.rsplit_once('/')).map(|(_, name)| name.to_owned());
    own.unwrap_or_else(|| {
        let joined = json!([route.source, route.topic, route.target]).to_string();
        format!("route-{}", &Digest::of(joined.as_bytes()).as_str()[..16])
    })
}

pub fn add(state: &mut State, function: &FunctionName, trigger: &str, config: RouteConfig, target: FunctionName) -> Result<(), ApiError> {
    super::super::row(state, function)?;
    let route = config.to(target)?;
    is_new(state, &route, None)?;
    state.notes.routes.insert(key(function, trigger), route.clone());
    state.set.routes.push(route);
    Ok(())
}

/// Changes what is given of a route, in its place: of several that join the same, the first counts.
pub fn change(
    state: &mut State,
    function: &FunctionName,
    trigger: &str,
    config: Option<RouteConfig>,
    target: Option<FunctionName>,
) -> Result<(), ApiError> {
    let Some(before) = find(state, function, trigger) else { return Ok(()) };
    let target = target.unwrap_or_else(|| before.target.clone());
    let route = match config {
        Some(config) => config.to(target)?,
        None => Route { target, ..before.clone() },
    };
    is_new(state, &route, Some(&before))?;
    for row in state.set.routes.iter_mut().filter(|row| row.is_between_the_same(&before)) {
        row.clone_from(&route);
    }
    state.notes.routes.insert(key(function, trigger), route);
    Ok(())
}

pub fn delete(state: &mut State, function: &FunctionName, trigger: &str) {
    if let Some(route) = find(state, function, trigger) {
        state.set.routes.retain(|row| !row.is_between_the_same(&route));
    }
}

fn find(state: &State, function: &FunctionName, trigger: &str) -> Option<Route> {
    of(state, function).find(|(name, _)| name == trigger).map(|(_, route)| route.clone())
}

/// Two routes that join the same would be one.
fn is_new(state: &State, route: &Route, but: Option<&Route>) -> Result<(), ApiError> {
    let is_other = |row: &&Route| row.is_between_the_same(route) && !but.is_some_and(|but| row.is_between_the_same(but));
    match state.set.routes.iter().find(is_other) {
        Some(other) => {
            let message = format!("the trigger `{}` of function `{}` is this route already", name(state, other), other.target);
            Err(conflict("TriggerAlreadyExists", message))
        }
        None => Ok(()),
    }
}

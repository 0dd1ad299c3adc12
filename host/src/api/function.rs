//! Functions that are deployed.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State as Shared;
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::describe::form::Done;
use super::driver::{State, released, said};
use super::error::ApiError;
use super::given::InPath;
use crate::deploy::Past;
use crate::function::Function;
use crate::grant::Grants;
use crate::limit::Limits;
use crate::schedule;
use crate::set::{HttpTrigger, Mode};

/// A function.
#[derive(Serialize, ToSchema)]
#[schema(as = Function)]
pub struct Shown {
    #[schema(example = "EdgeFC/helloworld")]
    name: String,
    mode: Mode,
    /// Of a persistent function.
    state: Option<State>,
    /// Why it does not run, or why it went back to what was deployed before.
    reason: Option<String>,
    /// Of a persistent function, since the gateway started.
    restarts: Option<u64>,
    /// SHA-256 of its component, in hex.
    component: String,
    /// Calls that run now.
    running: u32,
    /// Whether its code is in memory.
    loaded: bool,
    limits: Limits,
    #[schema(value_type = Grants)]
    grants: Json,
    /// Calls that one instance may take, one after another; 0: each call has a fresh one.
    reuse: u32,
    /// What was deployed before, and can be gone back to.
    past: Option<Vec<PastShown>>,
    breaker: Breaker,
    http: Option<HttpTrigger>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Past)]
struct PastShown {
    /// SHA-256 of its component, in hex.
    component: String,
    /// ISO 8601.
    until: String,
}

/// `open` refuses callers for a while, after failures in a row.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Breaker {
    Open,
    Closed,
}

/// All functions, in the order of their names.
#[utoipa::path(
    get,
    path = "/ledge/v1/functions",
    tag = "functions",
    operation_id = "ledge_functions",
    security(("session" = ["functions.read"])),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, _: Caller) -> JsonBody<Vec<Shown>> {
    let (residents, versions) = (api.persistents.list(), api.deploy.versions());
    let row = |function: &Arc<Function>| {
        let resident = residents.iter().find(|(resident, ..)| resident.row.name == function.name);
        let (state, reason) = resident.map(|(_, condition, _)| said(condition)).unzip();
        Shown {
            name: function.name.to_string(),
            mode: function.mode,
            state,
            reason: reason.flatten().map(str::to_owned).or_else(|| api.deploy.went_back(&function.name)),
            restarts: resident.map(|(.., restarts)| *restarts),
            component: function.digest.as_str().to_owned(),
            running: function.gate.running(),
            loaded: function.code.is_loaded(),
            limits: function.limits,
            grants: shown(&function.grants),
            reuse: function.reuse,
            past: versions.past.get(&function.name).map(|past| past.iter().map(past_shown).collect()),
            breaker: if function.breaker.is_open() { Breaker::Open } else { Breaker::Closed },
            http: function.http.clone(),
        }
    };
    JsonBody(api.functions.list().iter().map(row).collect())
}

/// Grants without the values of the environment, which may be secrets.
fn shown(grants: &Grants) -> Json {
    let names: Vec<&String> = grants.env.0.keys().collect();
    let mut shown = json!(grants);
    shown["env"] = json!(names);
    shown
}

fn past_shown(past: &Past) -> PastShown {
    PastShown { component: past.row.component.as_str().to_owned(), until: schedule::iso(past.until_ms) }
}

/// Starts a persistent function again that is quarantined.
#[utoipa::path(
    post,
    path = "/ledge/v1/functions/{service}/{function}/release",
    tag = "functions",
    operation_id = "ledge_release_function",
    security(("session" = ["functions.operate"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = Done), (status = 409, description = "it is not quarantined")),
)]
pub async fn release(
    Shared(api): Shared<Arc<Api>>,
    Caller(user): Caller,
    name: InPath<(String, String)>,
) -> Result<JsonBody<Done>, ApiError> {
    let InPath((service, function)) = name;
    let name = format!("{service}/{function}");
    released(api.persistents.release(&name, &user.who()), &format!("persistent function `{name}`"))
}

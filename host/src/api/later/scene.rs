//! Scenes, which are automation rules.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::data;
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::trigger::rule::RuleState;

#[derive(Serialize, ToSchema)]
#[schema(as = LaterScenes)]
#[serde(rename_all = "PascalCase")]
pub struct Scenes {
    scenes: Vec<Scene>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LaterScene)]
#[serde(rename_all = "PascalCase")]
struct Scene {
    id: String,
    name: String,
    running: bool,
}

/// All rules. `Running` says whether one is switched on.
#[utoipa::path(
    get,
    path = "/2020-04-30/scenes",
    tag = "2020-04-30",
    operation_id = "later_scenes",
    security(("session" = ["rules.read"])),
    responses((status = 200, body = super::Answer<Scenes>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller) -> impl IntoResponse {
    let row = |rule: &RuleState| Scene { id: rule.row.name.clone(), name: rule.row.name.clone(), running: rule.is_on };
    data(Scenes { scenes: api.rules.list().iter().map(row).collect() })
}

/// Switches a rule on.
#[utoipa::path(
    post,
    path = "/2020-04-30/scenes/{id}/enable",
    tag = "2020-04-30",
    operation_id = "later_enable_scene",
    security(("session" = ["rules.operate"])),
    params(("id" = String, Path, description = "of a scene, which is a rule's name", example = "night-light")),
    responses((status = 200, description = "it is done")),
)]
pub async fn enable(State(api): State<Arc<Api>>, caller: Caller, id: InPath<String>) -> Result<(), ApiError> {
    switch(&api, &caller, id, true).await
}

/// Switches a rule off.
#[utoipa::path(
    post,
    path = "/2020-04-30/scenes/{id}/disable",
    tag = "2020-04-30",
    operation_id = "later_disable_scene",
    security(("session" = ["rules.operate"])),
    params(("id" = String, Path, description = "of a scene, which is a rule's name", example = "night-light")),
    responses((status = 200, description = "it is done")),
)]
pub async fn disable(State(api): State<Arc<Api>>, caller: Caller, id: InPath<String>) -> Result<(), ApiError> {
    switch(&api, &caller, id, false).await
}

async fn switch(api: &Api, caller: &Caller, id: InPath<String>, is_on: bool) -> Result<(), ApiError> {
    let InPath(name) = id;
    let written = api.rules.switch(&name, is_on, &caller.0.who()).await?;
    written.map_err(|lost| ApiError::unavailable(lost.to_string()))
}

//! All that is to be on a gateway, as one transaction: products, things, drivers, functions, routes and rules. Ledge's own, since the original
//! has neither most of these nor transactions; `ledge deploy` speaks it (decision 0025).

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use serde::Deserialize;

use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InQuery;
use crate::api::ledge::deployed;
use crate::api::upload::{Upload, blocking};
use crate::deploy::Report;
use crate::set::Set;

/// The largest set, its models included and its components not.
const SET_BYTES_MAX: usize = 32 << 20;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Takes away what is on the gateway and not in the set.
    #[serde(default)]
    prune: bool,
    /// Only says what would change.
    #[serde(default)]
    dry_run: bool,
}

/// Deploys a set, or nothing of it. Its components were brought before, and are named by their digests.
#[utoipa::path(
    post,
    path = "/2016-08-15/deployments",
    tag = "function compute",
    operation_id = "fc_deploy",
    security(("session" = ["deploy"])),
    params(Options),
    request_body(content = serde_json::Value, example = json!({
        "products": [{"key": "a1Meter", "name": "Meter", "tsl": "{\"properties\": [], \"events\": [], \"services\": []}", "tsl_ext": null}],
        "things": [],
        "drivers": [],
        "functions": [],
        "routes": [],
    })),
    responses((status = 200, body = Report)),
)]
pub async fn deploy(
    Shared(api): Shared<Arc<Api>>,
    Caller(user): Caller,
    InQuery(options): InQuery<Options>,
    body: Body,
) -> Result<JsonBody<Report>, ApiError> {
    let Upload { bytes, place } = api.set_uploads.read(body, SET_BYTES_MAX).await?;
    let parse = move || {
        let set: Set = serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("the body is not a set: {error}")))?;
        Ok((set, place))
    };
    let (set, place) = blocking("reading a set", parse).await?;
    let work = async move {
        let _place = place;
        if options.dry_run {
            return api.deploy.plan(set, options.prune);
        }
        api.deploy.apply(set, options.prune, &user.who()).await
    };
    deployed(work).await.map(JsonBody)
}

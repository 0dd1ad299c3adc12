//! Whether the gateway lives, and whether it can keep its promises: for whoever starts and watches it.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;

use super::Api;
use super::caller::Caller;

/// The process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "gateway",
    operation_id = "healthz",
    security(()),
    responses((status = 200, body = String, content_type = "text/plain")),
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Why requests should go elsewhere; nothing, if they may come.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

/// Whether it takes what it is asked. 503 with the reasons if not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "gateway",
    operation_id = "readyz",
    security(()),
    responses((status = 200, body = Readiness, description = "requests may come"), (status = 503, body = Readiness, description = "requests should go elsewhere")),
)]
pub async fn readyz(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let mut reasons = Vec::new();
    if api.shutdown.is_ordered() {
        reasons.push("the gateway is stopping".to_owned());
    }
    if api.store.is_broken() {
        reasons.push("what is on the disk is not known any more: the gateway ends, and its log says why".to_owned());
    }
    let ready = reasons.is_empty();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, JsonBody(Readiness { ready, reasons }))
}

/// For Prometheus, at the path that it looks at by itself.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "gateway",
    operation_id = "metrics",
    security(("session" = ["metrics.read"])),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(api: State<Arc<Api>>, caller: Caller) -> impl IntoResponse {
    super::ledge::metrics(api, caller).await
}

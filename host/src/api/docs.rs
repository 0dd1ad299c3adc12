//! The description of the API, and a page on which a person tries it. Everything that the page needs is in the binary.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::Value as Json;
use utoipa_swagger_ui::Config;

use super::Api;
use super::error::ApiError;

/// Nothing of it is anybody's secret, so it is everybody's.
pub fn router(document: &Json) -> Router<Arc<Api>> {
    let text: Arc<str> = document.to_string().into();
    let shown = move || async move { ([(CONTENT_TYPE, "application/json; charset=utf-8")], text.to_string()) };
    Router::new()
        .route("/openapi.json", get(shown))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| async { page("index.html") }))
        .route("/docs/{*file}", get(|Path(file): Path<String>| async move { page(&file) }))
}

/// The page asks nobody but this gateway, and nobody may put it into a frame.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

fn page(file: &str) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json").use_base_layout()));
    match utoipa_swagger_ui::serve(file, CONFIG.clone()) {
        Ok(Some(found)) => {
            ([(CONTENT_TYPE, found.content_type), (CONTENT_SECURITY_POLICY, POLICY.to_owned())], found.bytes.into_owned()).into_response()
        }
        Ok(None) => ApiError::new(StatusCode::NOT_FOUND, format!("`/docs` has no file `{file}`")).into_response(),
        Err(error) => ApiError::internal("the page of the API", &anyhow::anyhow!("{error}")).into_response(),
    }
}

//! The later edge API, 2020-04-30 (FACTS 5.2): the same things, services and rules in other shapes.
//!
//! An empty map is `[]` where the original's was (its encoder could not tell). Errors are `{"Code", "Message"}`: `error::Form` sees to that.

pub mod bulk;
pub mod scene;
pub mod session;
pub mod thing;
pub mod watch;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

use super::describe::form::ValuesOrEmpty;
use super::error::ApiError;
use super::spaced_json;

/// Every answer has its content in `Data`.
#[derive(Serialize, ToSchema)]
#[schema(as = LaterAnswer)]
pub struct Answer<D: ToSchema> {
    #[serde(rename = "Data")]
    data: D,
}

fn data<D: Serialize + ToSchema>(data: D) -> spaced_json::Body<Answer<D>> {
    spaced_json::Body(Answer { data })
}

/// What became of one thing, or of one call.
#[derive(Serialize, ToSchema)]
#[schema(as = LaterReturns)]
#[serde(rename_all = "PascalCase")]
pub struct Returns {
    /// As of HTTP.
    code: u16,
    message: String,
    /// What was asked for; `[]` where there is nothing.
    #[schema(value_type = ValuesOrEmpty)]
    data: Json,
}

impl From<Result<Json, ApiError>> for Returns {
    fn from(done: Result<Json, ApiError>) -> Self {
        match done {
            Ok(data) => Self { code: 200, message: "success".to_owned(), data },
            Err(error) => Self { code: error.status().as_u16(), message: error.message().to_owned(), data: json!([]) },
        }
    }
}

/// A map, or `[]` if there is nothing in it.
fn map(map: Map<String, Json>) -> Json {
    if map.is_empty() { json!([]) } else { Json::Object(map) }
}

/// Properties that one request may ask for.
pub const IDENTIFIERS_MAX: usize = 100;

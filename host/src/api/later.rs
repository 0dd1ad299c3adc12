//! The later edge API, 2020-04-30 (FACTS 5.2): the same things, services and rules in other shapes.
//!
//! An empty map is `[]` where the original's was (its encoder could not tell). Errors are `{"Code", "Message"}`: `error::Form` sees to that.

pub mod bulk;
pub mod scene;
pub mod session;
pub mod thing;
pub mod watch;

use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

use super::spaced_json;

/// Every answer has its content in `Data`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written by hand")]
#[schema(as = LaterAnswer)]
pub struct Answer {
    #[schema(rename = "Data")]
    data: Json,
}

fn data(data: Json) -> spaced_json::Body {
    spaced_json::Body(json!({"Data": data}))
}

/// A map, or `[]` if there is nothing in it.
fn map(map: Map<String, Json>) -> Json {
    if map.is_empty() { json!([]) } else { Json::Object(map) }
}

/// Properties that one request may ask for.
pub const IDENTIFIERS_MAX: usize = 100;

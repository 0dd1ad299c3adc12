//! Rules run dry: what one would do, had something happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::CauseShown;
use crate::api::caller::Caller;
use crate::api::describe::form::Values;
use crate::api::error::ApiError;
use crate::api::{Api, body};
use crate::auth::Permission;
use crate::name::ThingId;
use crate::rule::{self, Cause, Happened, Judged};
use crate::schedule;
use crate::thing::tsl::DataType;
use crate::trigger::rule::{Believed, TestedAction};

#[derive(Deserialize, ToSchema)]
#[schema(as = RuleTest, example = json!({
    "rule": "night-light",
    "event": {"productKey": "a1LightSensor", "deviceName": "sensor-1", "properties": {"MeasuredIlluminance": 3}},
    "known": {"a1Light/lamp-1": {"LightSwitch": 0}},
}))]
#[serde(deny_unknown_fields)]
pub struct Given {
    #[schema(value_type = NameOrRule)]
    rule: Json,
    /// What is to have happened.
    #[schema(value_type = CauseShown, example = json!({"productKey": "a1LightSensor", "deviceName": "sensor-1", "properties": {"MeasuredIlluminance": 3}}))]
    event: Json,
    /// When (ISO 8601); now without it.
    #[serde(default)]
    #[schema(format = DateTime)]
    at: Option<String>,
    /// What is to be believed of other things, by `PRODUCT/THING`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Values>, example = json!({"a1Light/lamp-1": {"LightSwitch": 0}}))]
    known: BTreeMap<String, Map<String, Json>>,
}

/// A rule's name, or the JSON of one.
struct NameOrRule;

impl PartialSchema for NameOrRule {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::Array([Type::String, Type::Object].to_vec())).examples([json!("night-light")]).into()
    }
}

impl ToSchema for NameOrRule {}

/// What the rule would do.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleTested)]
pub struct Tested {
    fires: bool,
    /// ISO 8601.
    at: String,
    /// Nothing where no trigger is about such a thing.
    triggers: Option<Vec<Judged>>,
    conditions: Option<Vec<Judged>>,
    actions: Vec<WouldDo>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleActionTested)]
struct WouldDo {
    action: String,
    delay_s: u64,
    /// Why it would fail, as things are now.
    problem: Option<String>,
}

/// Runs a rule dry. It tells values of things, so it needs `things.read` too.
#[utoipa::path(
    post,
    path = "/ledge/v1/rule-tests",
    tag = "rules",
    operation_id = "rule_test",
    security(("session" = ["rules.read"])),
    request_body = Given,
    responses((status = 200, body = Tested), (status = 404)),
)]
pub async fn run(State(api): State<Arc<Api>>, caller: Caller, body: Body) -> Result<JsonBody<Tested>, ApiError> {
    caller.require(&api.audit, Permission::ThingsRead)?;
    let body = body::read(body).await?;
    let given: Given = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is no test: {error}")))?;
    let rule = match &given.rule {
        Json::String(name) => api.rules.rule(name)?,
        json => rule::parse(json).map_err(|wrongs| {
            let wrongs: Vec<String> = wrongs.iter().map(ToString::to_string).collect();
            ApiError::bad_request(format!("the rule is wrong:\n{}", wrongs.join("\n")))
        })?,
    };
    let cause = Cause::from_json(&given.event).map_err(|wrong| ApiError::bad_request(format!("`event`: {wrong}")))?;
    let at_ms = given.at.as_deref().map(schedule::moment).transpose().map_err(|wrong| ApiError::bad_request(format!("`at`: {wrong}")))?;
    let cause = typed(&api, cause)?;
    let happened = Happened::new(cause, at_ms.unwrap_or_else(|| api.clock.unix_ms()));
    let test = api.rules.test(&rule, &happened, &believed(&api, given.known)?);
    let action = |action: TestedAction| WouldDo { action: action.what, delay_s: action.delay.as_secs(), problem: action.problem };
    let fires = test.verdict.as_ref().is_some_and(|verdict| verdict.fires);
    let (triggers, conditions) = test.verdict.map(|verdict| (verdict.triggers, verdict.conditions)).unzip();
    let actions = test.actions.into_iter().map(action).collect();
    Ok(JsonBody(Tested { fires, at: schedule::iso(happened.at_ms), triggers, conditions, actions }))
}

/// What is to have happened, by the thing's model: a slip of the pen is no answer to why a rule does not run.
fn typed(api: &Api, cause: Cause) -> Result<Cause, ApiError> {
    let thing_of = |id: &ThingId| api.things.get(id).map_err(|fault| ApiError::bad_request(format!("`event`: {}", fault.message)));
    let wrong = |what: &str, name: &str| ApiError::bad_request(format!("`event`: the product has no {what} `{name}`"));
    let convert = |data_type: &DataType, name: &str, value: &Json| {
        let value = data_type.from_json(value).map_err(|wrong| ApiError::bad_request(format!("`event`: `{name}`: {}", wrong.reason)))?;
        Ok::<_, ApiError>((name.to_owned(), value.to_json()))
    };
    match cause {
        Cause::Properties { thing, values } => {
            let found = thing_of(&thing)?;
            let typed = |(name, value): (&String, &Json)| {
                let spec = found.product.tsl.properties().find(|spec| spec.identifier == *name);
                convert(&spec.ok_or_else(|| wrong("property", name))?.data_type, name, value)
            };
            let values = values.iter().map(typed).collect::<Result<_, _>>()?;
            Ok(Cause::Properties { thing, values })
        }
        Cause::Event { thing, event, outputs } => {
            let found = thing_of(&thing)?;
            let spec = found.product.tsl.events().find(|spec| spec.identifier == event).ok_or_else(|| wrong("event", &event))?;
            let typed = |(name, value): (&String, &Json)| {
                convert(&spec.outputs.get(name).ok_or_else(|| wrong("output", name))?.data_type, name, value)
            };
            let outputs = outputs.iter().map(typed).collect::<Result<_, _>>()?;
            Ok(Cause::Event { thing, event, outputs })
        }
        Cause::Status { thing, is_online } => thing_of(&thing).map(|_| Cause::Status { thing, is_online }),
        other => Ok(other),
    }
}

fn believed(api: &Api, known: BTreeMap<String, Map<String, Json>>) -> Result<Believed, ApiError> {
    let mut believed = Believed::new();
    for (thing, values) in known {
        let id = thing.split_once('/').map(|(product, device)| ThingId::new(product, device));
        let id = id.ok_or_else(|| ApiError::bad_request(format!("`known`: `{thing}` is no thing; expected PRODUCT/THING")))?;
        let Cause::Properties { values, .. } = typed(api, Cause::Properties { thing: id.clone(), values })? else { continue };
        believed.extend(values.into_iter().map(|(property, value)| ((id.clone(), property), value)));
    }
    Ok(believed)
}

//! Automation rules: what they are, what they did and why, and changing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::caller::Caller;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use super::ledge::deployed;
use super::{Api, body};
use crate::call_path::CallPath;
use crate::deploy::Report;
use crate::name::ThingId;
use crate::rule::{self, Cause, Happened, Verdict};
use crate::schedule;
use crate::set;
use crate::thing::tsl::DataType;
use crate::trigger::rule::{Believed, Evaluation, NoSuchRule, Outcome, RuleState, Run, TriggerError};

type Name = InPath<String>;

#[utoipa::path(
    get,
    path = "/ledge/v1/rules",
    tag = "rules",
    operation_id = "rule_list",
    security(("session" = ["rules.read"])),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Json>> {
    JsonBody(api.rules.list().iter().map(shown).collect())
}

#[utoipa::path(
    get,
    path = "/ledge/v1/rules/{name}",
    tag = "rules",
    operation_id = "rule_show",
    security(("session" = ["rules.read"])),
    params(("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn show(State(api): State<Arc<Api>>, _: Caller, name: Name) -> Result<JsonBody<Json>, ApiError> {
    let InPath(name) = name;
    let found = api.rules.list().into_iter().find(|state| state.row.name == name);
    found.map(|state| JsonBody(shown(&state))).ok_or_else(|| NoSuchRule(name).into())
}

fn shown(state: &RuleState) -> Json {
    json!({
        "name": state.row.name,
        "description": state.row.description,
        "enabled": state.is_on,
        "qos": state.row.qos,
        "runs_per_s": state.row.runs_per_s,
        "runs": state.runs,
        "last": state.last_ms.map(schedule::iso),
        "next": state.next_ms.map(schedule::iso),
        "waiting": state.waiting,
        "rule": state.row.rule,
    })
}

/// What `put` takes: a rule without its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    rule: Json,
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    qos: set::Qos,
    #[serde(default)]
    runs_per_s: Option<u32>,
}

fn yes() -> bool {
    true
}

/// Adds a rule, or changes the one of this name.
#[utoipa::path(
    put,
    path = "/ledge/v1/rules/{name}",
    tag = "rules",
    operation_id = "rule_put",
    security(("session" = ["deploy"])),
    params(("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn put(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name, body: Body) -> Result<JsonBody<Report>, ApiError> {
    let (InPath(name), body) = (name, body::read(body).await?);
    let given: Given = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is not a rule: {error}")))?;
    let rule = set::Rule {
        name: name.clone(),
        description: given.description,
        rule: given.rule,
        enabled: given.enabled,
        qos: given.qos,
        runs_per_s: given.runs_per_s.unwrap_or(crate::limit::RUNS_PER_S_USUAL),
    };
    change(api, user.who(), name, Some(rule)).await
}

#[utoipa::path(
    delete,
    path = "/ledge/v1/rules/{name}",
    tag = "rules",
    operation_id = "rule_delete",
    security(("session" = ["deploy"])),
    params(("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn delete(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Report>, ApiError> {
    change(api, user.who(), name.0, None).await
}

async fn change(api: Arc<Api>, who: String, name: String, rule: Option<set::Rule>) -> Result<JsonBody<Report>, ApiError> {
    let none = NoSuchRule(name.clone());
    let changed = deployed(async move { api.deploy.change_rule(&name, rule, &who).await }).await?;
    changed.map(JsonBody).ok_or_else(|| none.into())
}

#[utoipa::path(
    post,
    path = "/ledge/v1/rules/{name}/enable",
    tag = "rules",
    operation_id = "rule_enable",
    security(("session" = ["rules.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn enable(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Json>, ApiError> {
    switch(&api, &name.0, true, &user.who()).await
}

#[utoipa::path(
    post,
    path = "/ledge/v1/rules/{name}/disable",
    tag = "rules",
    operation_id = "rule_disable",
    security(("session" = ["rules.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn disable(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Json>, ApiError> {
    switch(&api, &name.0, false, &user.who()).await
}

async fn switch(api: &Api, name: &str, is_on: bool, who: &str) -> Result<JsonBody<Json>, ApiError> {
    let written = api.rules.switch(name, is_on, who).await?;
    written.map_err(|lost| ApiError::unavailable(lost.to_string()))?;
    Ok(JsonBody(json!({"name": name, "enabled": is_on})))
}

/// Runs a rule now, if its conditions hold, and says what they found.
#[utoipa::path(
    post,
    path = "/ledge/v1/rules/{name}/trigger",
    tag = "rules",
    operation_id = "rule_trigger",
    security(("session" = ["rules.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn trigger(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Json>, ApiError> {
    let InPath(name) = name;
    let by = format!("user {}", user.name);
    let evaluation = api.rules.trigger(&name, &by, &CallPath::default()).await.map_err(|error| match error {
        TriggerError::None(none) => none.into(),
        error => ApiError::unavailable(error.to_string()),
    })?;
    api.audit.record(&user.who(), "rule triggered", &name);
    Ok(JsonBody(judged(&name, &evaluation)))
}

/// The log of a rule, the newest run first.
#[utoipa::path(
    get,
    path = "/ledge/v1/rules/{name}/runs",
    tag = "rules",
    operation_id = "rule_runs",
    security(("session" = ["rules.read"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn runs(State(api): State<Arc<Api>>, _: Caller, name: Name) -> Result<JsonBody<Vec<Json>>, ApiError> {
    let InPath(name) = name;
    let runs = tokio::task::block_in_place(|| api.rules.runs(&name))?;
    let runs = runs.map_err(|error| ApiError::internal("reading the log of a rule", &error))?;
    Ok(JsonBody(runs.iter().map(run_shown).collect()))
}

fn run_shown(run: &Run) -> Json {
    let action = |acted: &crate::trigger::rule::Acted| {
        let state = match acted.is_ok {
            None => "waiting",
            Some(true) => "done",
            Some(false) => "failed",
        };
        json!({
            "action": acted.what,
            "state": state,
            "due": schedule::iso(acted.due_ms),
            "ended": acted.ended_ms.map(schedule::iso),
            "message": acted.message,
        })
    };
    json!({
        "trace": run.trace,
        "at": schedule::iso(run.at_ms),
        "at_ms": run.at_ms,
        "cause": run.cause,
        "triggers": run.verdict.triggers,
        "conditions": run.verdict.conditions,
        "actions": run.actions.iter().map(action).collect::<Vec<_>>(),
    })
}

/// Of which events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    rule: Option<String>,
    /// `PRODUCT/THING`.
    device: Option<String>,
}

/// The last things that happened and that a rule was asked about, the newest first: what each rule made of it, and why.
#[utoipa::path(
    get,
    path = "/ledge/v1/rule-events",
    tag = "rules",
    operation_id = "rule_events",
    security(("session" = ["rules.read"])),
    params(("rule" = Option<String>, Query), ("device" = Option<String>, Query)),
    responses((status = 200, body = Vec<serde_json::Value>)),
)]
pub async fn events(State(api): State<Arc<Api>>, _: Caller, wanted: InQuery<Wanted>) -> Result<JsonBody<Vec<Json>>, ApiError> {
    let InQuery(wanted) = wanted;
    if let Some(device) = &wanted.device {
        let id = device.split_once('/').map(|(product, device)| ThingId::new(product, device));
        if id.is_none_or(|id| api.things.get(&id).is_err()) {
            let message = format!("there is no thing `{device}`; expected PRODUCT/THING, as `ledge list things` shows them");
            return Err(ApiError::new(StatusCode::NOT_FOUND, message));
        }
    }
    let is_wanted = |evaluation: &Evaluation| {
        wanted.device.as_ref().is_none_or(|device| evaluation.thing.as_ref().is_some_and(|thing| thing.to_string() == *device))
    };
    let mut events: BTreeMap<std::cmp::Reverse<u64>, Json> = BTreeMap::new();
    for (rule, evaluation) in api.rules.events(wanted.rule.as_deref())?.iter().filter(|(_, evaluation)| is_wanted(evaluation)) {
        let event = events.entry(std::cmp::Reverse(evaluation.number)).or_insert_with(|| {
            let at_ms = evaluation.at_ms;
            json!({"event": evaluation.number, "at": schedule::iso(at_ms), "at_ms": at_ms, "cause": evaluation.cause, "rules": []})
        });
        if let Some(rules) = event["rules"].as_array_mut() {
            rules.push(judged(rule, evaluation));
        }
    }
    Ok(JsonBody(events.into_values().collect()))
}

fn judged(rule: &str, evaluation: &Evaluation) -> Json {
    let (outcome, reason, trace) = match &evaluation.outcome {
        Outcome::Ran(trace) => ("ran", None, Some(*trace)),
        Outcome::NotMet => ("not met", None, None),
        Outcome::Off => ("disabled", None, None),
        Outcome::Refused(reason) => ("refused", Some(reason.clone()), None),
    };
    let Verdict { triggers, conditions, .. } = &evaluation.verdict;
    json!({"rule": rule, "outcome": outcome, "reason": reason, "trace": trace, "triggers": triggers, "conditions": conditions})
}

/// Runs a rule dry. The body: `rule`, a name or the JSON of one; `event`, what is to have happened; and if wanted `at`, when (ISO 8601), and
/// `known`, what is to be believed of other things, as in `{"PRODUCT/THING": {"Temperature": 20}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestGiven {
    rule: Json,
    event: Json,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    known: BTreeMap<String, Map<String, Json>>,
}

#[utoipa::path(
    post,
    path = "/ledge/v1/rule-tests",
    tag = "rules",
    operation_id = "rule_test",
    security(("session" = ["rules.read"])),
    request_body = serde_json::Value,
    responses((status = 200, body = serde_json::Value)),
)]
pub async fn test(State(api): State<Arc<Api>>, _: Caller, body: Body) -> Result<JsonBody<Json>, ApiError> {
    let body = body::read(body).await?;
    let given: TestGiven = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is no test: {error}")))?;
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
    let fires = test.verdict.as_ref().is_some_and(|verdict| verdict.fires);
    let action = |action: &crate::trigger::rule::TestedAction| json!({"action": action.what, "delay_s": action.delay.as_secs(), "problem": action.problem});
    Ok(JsonBody(json!({
        "fires": fires,
        "at": schedule::iso(happened.at_ms),
        "triggers": test.verdict.as_ref().map(|verdict| &verdict.triggers),
        "conditions": test.verdict.as_ref().map(|verdict| &verdict.conditions),
        "actions": test.actions.iter().map(action).collect::<Vec<_>>(),
    })))
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

impl From<NoSuchRule> for ApiError {
    fn from(none: NoSuchRule) -> Self {
        Self::new(StatusCode::NOT_FOUND, none.to_string())
    }
}

//! Automation rules: what they are, what they did and why, and changing them.

pub mod test;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::caller::Caller;
use super::describe::form::Values;
use super::error::ApiError;
use super::given::{InPath, InQuery};
use super::ledge::deployed;
use super::{Api, body};
use crate::call_path::CallPath;
use crate::deploy::Report;
use crate::name::ThingId;
use crate::rule::{Judged, Verdict};
use crate::schedule;
use crate::set::{self, Qos};
use crate::trigger::rule::{Acted, Evaluation, NoSuchRule, Outcome, RuleState, Run, TriggerError};

type Name = InPath<String>;

/// An automation rule, and how it is doing.
#[derive(Serialize, ToSchema)]
#[schema(as = Rule)]
pub struct Shown {
    #[schema(example = "night-light")]
    name: String,
    description: String,
    enabled: bool,
    qos: Qos,
    /// How often it may run in a second.
    runs_per_s: u32,
    /// Runs since the gateway started.
    runs: u64,
    /// Its last run, ISO 8601.
    last: Option<String>,
    /// The next tick of its timers, ISO 8601.
    next: Option<String>,
    /// Actions that wait for their delay.
    waiting: usize,
    /// `{"type": "IFTTT", "trigger", "condition", "action"}`.
    #[schema(value_type = Object)]
    rule: Json,
}

/// All automation rules.
#[utoipa::path(
    get,
    path = "/ledge/v1/rules",
    tag = "rules",
    operation_id = "rule_list",
    security(("session" = ["rules.read"])),
    responses((status = 200, body = Vec<Shown>)),
)]
pub async fn list(State(api): State<Arc<Api>>, _: Caller) -> JsonBody<Vec<Shown>> {
    JsonBody(api.rules.list().iter().map(shown).collect())
}

/// A rule, and how it is doing.
#[utoipa::path(
    get,
    path = "/ledge/v1/rules/{name}",
    tag = "rules",
    operation_id = "rule_show",
    security(("session" = ["rules.read"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Shown)),
)]
pub async fn show(State(api): State<Arc<Api>>, _: Caller, name: Name) -> Result<JsonBody<Shown>, ApiError> {
    let InPath(name) = name;
    let found = api.rules.list().into_iter().find(|state| state.row.name == name);
    found.map(|state| JsonBody(shown(&state))).ok_or_else(|| NoSuchRule(name).into())
}

fn shown(state: &RuleState) -> Shown {
    let row = &state.row;
    Shown {
        name: row.name.clone(),
        description: row.description.clone(),
        enabled: state.is_on,
        qos: row.qos,
        runs_per_s: row.runs_per_s,
        runs: state.runs,
        last: state.last_ms.map(schedule::iso),
        next: state.next_ms.map(schedule::iso),
        waiting: state.waiting,
        rule: row.rule.clone(),
    }
}

/// What `put` takes: a rule without its name.
#[derive(Deserialize, ToSchema)]
#[schema(as = RuleGiven)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// `{"type": "IFTTT", "trigger", "condition", "action"}`.
    #[schema(value_type = Object, example = json!({
        "type": "IFTTT",
        "trigger": {"uri": "trigger/timer", "params": {"cron": "0 22 * * *", "cronType": "linux"}},
        "action": [{"uri": "action/device/setProperty", "params": {"productKey": "a1Light", "deviceName": "lamp-1", "propertyItems": {"LightSwitch": 1}}}],
    }))]
    rule: Json,
    #[serde(default)]
    #[schema(max_length = 100, example = "lights the lamp at ten")]
    description: String,
    /// Whether it is on at first, and when this changes.
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    qos: Qos,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_000, example = 100)]
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
    request_body(content = Given, example = json!({
        "rule": {
            "type": "IFTTT",
            "trigger": {"uri": "trigger/timer", "params": {"cron": "0 22 * * *", "cronType": "linux"}},
            "action": [{"uri": "action/device/setProperty", "params": {"productKey": "a1Light", "deviceName": "lamp-1", "propertyItems": {"LightSwitch": 1}}}],
        },
        "description": "lights the lamp at ten",
    })),
    responses((status = 200, body = Report), (status = 500)),
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

/// Deletes a rule, and what it waits to do.
#[utoipa::path(
    delete,
    path = "/ledge/v1/rules/{name}",
    tag = "rules",
    operation_id = "rule_delete",
    security(("session" = ["deploy"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Report), (status = 500)),
)]
pub async fn delete(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Report>, ApiError> {
    change(api, user.who(), name.0, None).await
}

async fn change(api: Arc<Api>, who: String, name: String, rule: Option<set::Rule>) -> Result<JsonBody<Report>, ApiError> {
    let none = NoSuchRule(name.clone());
    let changed = deployed(async move { api.deploy.change_rule(&name, rule, &who).await }).await?;
    changed.map(JsonBody).ok_or_else(|| none.into())
}

#[derive(Serialize, ToSchema)]
pub struct Switched {
    name: String,
    enabled: bool,
}

/// Switches a rule on.
#[utoipa::path(
    post,
    path = "/ledge/v1/rules/{name}/enable",
    tag = "rules",
    operation_id = "rule_enable",
    security(("session" = ["rules.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Switched)),
)]
pub async fn enable(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Switched>, ApiError> {
    switch(&api, &name.0, true, &user.who()).await
}

/// Switches a rule off, over deployments and restarts.
#[utoipa::path(
    post,
    path = "/ledge/v1/rules/{name}/disable",
    tag = "rules",
    operation_id = "rule_disable",
    security(("session" = ["rules.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Switched)),
)]
pub async fn disable(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Switched>, ApiError> {
    switch(&api, &name.0, false, &user.who()).await
}

async fn switch(api: &Api, name: &str, is_on: bool, who: &str) -> Result<JsonBody<Switched>, ApiError> {
    let written = api.rules.switch(name, is_on, who).await?;
    written.map_err(|lost| ApiError::unavailable(lost.to_string()))?;
    Ok(JsonBody(Switched { name: name.to_owned(), enabled: is_on }))
}

/// What a rule made of something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleJudgement)]
pub struct Judgement {
    rule: String,
    outcome: Said,
    /// Why it was refused.
    reason: Option<String>,
    /// Of the run.
    trace: Option<Uuid>,
    triggers: Vec<Judged>,
    conditions: Vec<Judged>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleOutcome)]
#[serde(rename_all = "lowercase")]
enum Said {
    Ran,
    #[serde(rename = "not met")]
    NotMet,
    Disabled,
    Refused,
}

/// Runs a rule now, if its conditions hold, and says what they found.
#[utoipa::path(
    post,
    path = "/ledge/v1/rules/{name}/trigger",
    tag = "rules",
    operation_id = "rule_trigger",
    security(("session" = ["rules.operate"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Judgement)),
)]
pub async fn trigger(State(api): State<Arc<Api>>, Caller(user): Caller, name: Name) -> Result<JsonBody<Judgement>, ApiError> {
    let InPath(name) = name;
    let by = format!("user {}", user.name);
    let evaluation = api.rules.trigger(&name, &by, &CallPath::default()).await.map_err(|error| match error {
        TriggerError::None(none) => none.into(),
        error => ApiError::unavailable(error.to_string()),
    })?;
    api.audit.record(&user.who(), "rule triggered", &name);
    Ok(JsonBody(judged(&name, &evaluation)))
}

/// One run of a rule.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleRun)]
pub struct RunShown {
    trace: Uuid,
    /// ISO 8601, as are all times but this one's twin.
    at: String,
    /// The same in milliseconds since 1970.
    at_ms: u64,
    #[schema(value_type = CauseShown)]
    cause: Arc<Json>,
    triggers: Vec<Judged>,
    conditions: Vec<Judged>,
    actions: Vec<ActionShown>,
}

/// What became of an action.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleAction)]
struct ActionShown {
    action: String,
    state: ActionState,
    due: String,
    ended: Option<String>,
    message: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleActionState)]
#[serde(rename_all = "lowercase")]
enum ActionState {
    Waiting,
    Done,
    Failed,
}

/// The log of a rule, the newest run first.
#[utoipa::path(
    get,
    path = "/ledge/v1/rules/{name}/runs",
    tag = "rules",
    operation_id = "rule_runs",
    security(("session" = ["rules.read"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Vec<RunShown>), (status = 500)),
)]
pub async fn runs(State(api): State<Arc<Api>>, _: Caller, name: Name) -> Result<JsonBody<Vec<RunShown>>, ApiError> {
    let InPath(name) = name;
    let runs = tokio::task::block_in_place(|| api.rules.runs(&name))?;
    let runs = runs.map_err(|error| ApiError::internal("reading the log of a rule", &error))?;
    Ok(JsonBody(runs.iter().map(run_shown).collect()))
}

fn run_shown(run: &Run) -> RunShown {
    let action = |acted: &Acted| ActionShown {
        action: acted.what.clone(),
        state: match acted.is_ok {
            None => ActionState::Waiting,
            Some(true) => ActionState::Done,
            Some(false) => ActionState::Failed,
        },
        due: schedule::iso(acted.due_ms),
        ended: acted.ended_ms.map(schedule::iso),
        message: acted.message.clone(),
    };
    RunShown {
        trace: run.trace,
        at: schedule::iso(run.at_ms),
        at_ms: run.at_ms,
        cause: run.cause.clone(),
        triggers: run.verdict.triggers.clone(),
        conditions: run.verdict.conditions.clone(),
        actions: run.actions.iter().map(action).collect(),
    }
}

/// Of which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What this rule made of them.
    rule: Option<String>,
    /// Of this thing, as `PRODUCT/THING`.
    #[param(example = "a1LightSensor/sensor-1")]
    device: Option<String>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleEvent)]
pub struct Event {
    event: u64,
    /// ISO 8601.
    at: String,
    /// The same in milliseconds since 1970.
    at_ms: u64,
    #[schema(value_type = CauseShown)]
    cause: Arc<Json>,
    rules: Vec<Judgement>,
}

/// The last things that happened and that a rule was asked about, the newest first: what each rule made of it, and why.
#[utoipa::path(
    get,
    path = "/ledge/v1/rule-events",
    tag = "rules",
    operation_id = "rule_events",
    security(("session" = ["rules.read"])),
    params(Wanted),
    responses((status = 200, body = Vec<Event>), (status = 404)),
)]
pub async fn events(State(api): State<Arc<Api>>, _: Caller, wanted: InQuery<Wanted>) -> Result<JsonBody<Vec<Event>>, ApiError> {
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
    let mut events: BTreeMap<Reverse<u64>, Event> = BTreeMap::new();
    for (rule, evaluation) in api.rules.events(wanted.rule.as_deref())?.iter().filter(|(_, evaluation)| is_wanted(evaluation)) {
        let (number, at_ms) = (evaluation.number, evaluation.at_ms);
        let happened = || Event { event: number, at: schedule::iso(at_ms), at_ms, cause: evaluation.cause.clone(), rules: vec![] };
        events.entry(Reverse(number)).or_insert_with(happened).rules.push(judged(rule, evaluation));
    }
    Ok(JsonBody(events.into_values().collect()))
}

fn judged(rule: &str, evaluation: &Evaluation) -> Judgement {
    let (outcome, reason, trace) = match &evaluation.outcome {
        Outcome::Ran(trace) => (Said::Ran, None, Some(*trace)),
        Outcome::NotMet => (Said::NotMet, None, None),
        Outcome::Off => (Said::Disabled, None, None),
        Outcome::Refused(reason) => (Said::Refused, Some(reason.clone()), None),
    };
    let Verdict { triggers, conditions, .. } = evaluation.verdict.clone();
    Judgement { rule: rule.to_owned(), outcome, reason, trace, triggers, conditions }
}

/// What happened, in JSON.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "`Cause` is written and read by hand")]
#[schema(as = Cause)]
pub(super) enum CauseShown {
    #[serde(rename_all = "camelCase")]
    Properties { product_key: String, device_name: String, properties: Values },
    #[serde(rename_all = "camelCase")]
    Event { product_key: String, device_name: String, event: CauseEvent },
    #[serde(rename_all = "camelCase")]
    Status {
        product_key: String,
        device_name: String,
        /// `online` or `offline`.
        status: String,
    },
    Timer {
        /// A trigger of the rule, by its number.
        timer: u64,
    },
    Told {
        /// By whom.
        told: String,
    },
    /// Of one that is long, the beginning of its JSON.
    #[serde(rename_all = "camelCase")]
    Cut {
        #[schema(nullable = false)]
        product_key: Option<String>,
        #[schema(nullable = false)]
        device_name: Option<String>,
        cut: String,
        bytes: u64,
    },
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `CauseShown`")]
pub(super) struct CauseEvent {
    code: String,
    outputs: Values,
}

impl From<NoSuchRule> for ApiError {
    fn from(none: NoSuchRule) -> Self {
        Self::new(StatusCode::NOT_FOUND, none.to_string())
    }
}

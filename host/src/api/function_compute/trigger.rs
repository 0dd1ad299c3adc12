//! Triggers of functions: timers, routes, and HTTP.

mod route;
mod timer;

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use self::route::RouteConfig;
use self::timer::{TimerConfig, expression};
use super::page::{Asked, Pages, asked};
use super::service::description;
use super::{Expected, answer, changed, conflict, missing, name, plain_service, read, row_mut};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::deploy::{Note, State};
use crate::name::{FunctionName, LATEST, check_timer};
use crate::schedule::{self, Schedule};
use crate::set::{self, HttpAuth, HttpTrigger, Missed, Timer};

/// What the HTTP trigger of a deployment is called here.
const HTTP: &str = "http";
/// The runtime of functions that are started by HTTP requests alone.
pub const CUSTOM: &str = "custom";
const TIMER: &str = "timer";
const ROUTE: &str = "route";

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcTrigger)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    trigger_name: String,
    trigger_id: String,
    /// `timer`, `route` or `http`.
    trigger_type: String,
    /// Of a timer `payload`, `cronExpression`, `enable`; of a route `source`, `topic`, `qos`; of HTTP `authType`, `methods`.
    #[schema(value_type = Object)]
    trigger_config: Json,
    description: String,
    qualifier: String,
    /// ISO 8601. Left out for a trigger that came with a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcTriggers)]
#[serde(rename_all = "camelCase")]
pub struct List {
    triggers: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FcTriggerGiven)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "what has no counterpart is taken and not looked at")]
pub struct Given {
    /// Not where the path has it.
    trigger_name: Option<String>,
    /// `timer`, `route` or `http`. Not where there is one.
    trigger_type: Option<String>,
    /// Of a timer `payload`, `cronExpression`, `enable`; of a route `source`, `topic`, `qos`, as in a manifest; of HTTP `authType`, `methods`.
    #[schema(value_type = Option<Object>)]
    trigger_config: Option<Json>,
    description: Option<String>,
    /// Of a route: a version, or an alias. Others start what is deployed.
    qualifier: Option<String>,
    #[schema(ignore)]
    source_arn: Option<IgnoredAny>,
    #[schema(ignore)]
    invocation_role: Option<IgnoredAny>,
}

/// What is asked for, parsed.
enum Config {
    Timer(TimerConfig),
    Route(RouteConfig),
    Http(HttpConfig),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HttpConfig {
    auth_type: AuthType,
    /// None: all of them.
    #[serde(default)]
    methods: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AuthType {
    Anonymous,
    Function,
}

impl Given {
    /// What is to be started, where that is said.
    fn target(&self, kind: &str, name: &FunctionName) -> Result<Option<FunctionName>, ApiError> {
        match self.qualifier.as_deref() {
            None => Ok(None),
            Some("" | LATEST) => Ok(Some(name.clone())),
            Some(other) if kind == ROUTE => super::name(&format!("{}.{other}", name.service()), name.function()).map(Some),
            Some(other) => Err(ApiError::bad_request(format!(
                "`qualifier` is `{}`: a trigger `{kind}` starts what is deployed; leave it out, or let it be `{LATEST}`",
                other.escape_debug()
            ))),
        }
    }

    fn config(&self, kind: &str) -> Result<Option<Config>, ApiError> {
        let Some(config) = self.trigger_config.clone() else { return Ok(None) };
        let wrong = |error: serde_json::Error| ApiError::bad_request(format!("`triggerConfig` of a trigger `{kind}`: {error}"));
        let config = match kind {
            TIMER => Config::Timer(serde_json::from_value(config).map_err(wrong)?),
            ROUTE => Config::Route(serde_json::from_value(config).map_err(wrong)?),
            HTTP => Config::Http(serde_json::from_value(config).map_err(wrong)?),
            other => {
                let message = format!("`triggerType` is `{}`; there are `{TIMER}`, `{ROUTE}` and `{HTTP}`", other.escape_debug());
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(Some(config))
    }
}

impl HttpConfig {
    fn trigger(self, name: &FunctionName) -> Result<HttpTrigger, ApiError> {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
        if let Some(other) = self.methods.iter().find(|method| !known.iter().any(|known| known.as_str() == **method)) {
            return Err(ApiError::bad_request(format!("`methods` has `{}`, which is no method of HTTP", other.escape_debug())));
        }
        let auth = match self.auth_type {
            AuthType::Anonymous => HttpAuth::Anonymous,
            AuthType::Function => HttpAuth::User,
        };
        Ok(HttpTrigger { auth, methods: self.methods, ..http(name) })
    }
}

/// Where a function answers HTTP requests whose manifest says nothing of it.
pub fn http(name: &FunctionName) -> HttpTrigger {
    HttpTrigger { prefix: format!("/{}/{}", name.service(), name.function()), auth: HttpAuth::User, methods: vec![] }
}

/// What the HTTP trigger of a function is called, if it has one.
fn http_name(state: &State, row: &set::Function) -> Option<String> {
    row.http.as_ref()?;
    let note = state.notes.functions.get(&row.name);
    match note.and_then(|note| note.http_trigger.clone()) {
        None if note.is_some_and(|note| note.runtime == CUSTOM) => None,
        name => Some(name.unwrap_or_else(|| HTTP.to_owned())),
    }
}

fn all(state: &State, row: &set::Function) -> Vec<Shown> {
    let timers = row.timers.iter().map(|timer| {
        let config = json!({"cronExpression": expression(&timer.schedule), "payload": timer.payload, "enable": true});
        shown(state, row, &timer.name, TIMER, config)
    });
    let routes = route::of(state, &row.name).map(|(name, own)| Shown {
        qualifier: own.target.qualifier().unwrap_or(LATEST).to_owned(),
        ..shown(state, row, &name, ROUTE, route::config(own))
    });
    let http = row.http.as_ref().zip(http_name(state, row)).map(|(http, name)| {
        let auth = if http.auth == HttpAuth::Anonymous { "anonymous" } else { "function" };
        shown(state, row, &name, HTTP, json!({"authType": auth, "methods": http.methods, "prefix": http.prefix}))
    });
    timers.chain(routes).chain(http).collect()
}

pub fn count(state: &State, row: &set::Function) -> usize {
    row.timers.len() + route::of(state, &row.name).count() + usize::from(http_name(state, row).is_some())
}

fn key(function: &FunctionName, trigger: &str) -> String {
    format!("{function}/{trigger}")
}

fn shown(state: &State, row: &set::Function, name: &str, kind: &str, trigger_config: Json) -> Shown {
    let key = key(&row.name, name);
    let note = state.notes.triggers.get(&key);
    Shown {
        trigger_name: name.to_owned(),
        trigger_id: key,
        trigger_type: kind.to_owned(),
        trigger_config,
        description: note.map(|note| note.description.clone()).unwrap_or_default(),
        qualifier: LATEST.to_owned(),
        created_time: note.map(|note| schedule::iso_ms(note.created_ms)),
        last_modified_time: note.map(|note| schedule::iso_ms(note.modified_ms)),
    }
}

fn find(state: &State, function: &FunctionName, trigger: &str) -> Result<Shown, ApiError> {
    let row = super::row(state, function)?;
    let found = all(state, row).into_iter().find(|shown| shown.trigger_name == trigger);
    found.ok_or_else(|| missing("TriggerNotFound", format!("function `{function}` has no trigger `{}`", trigger.escape_debug())))
}

/// A trigger as it is told, from a path that names one.
fn names(path: InPath<(String, String, String)>) -> Result<(FunctionName, String), ApiError> {
    let (service, function, trigger) = path.0;
    Ok((name(&plain_service(&service)?, &function)?, trigger))
}

/// Triggers of a function.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}/triggers",
    tag = "function compute",
    operation_id = "fc_trigger_list",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("function" = String, Path), Asked),
    responses((status = 200, body = List)),
)]
pub async fn list(
    Shared(api): Shared<Arc<Api>>,
    _: Caller,
    path: InPath<(String, String)>,
    pages: Pages,
) -> Result<JsonBody<List>, ApiError> {
    let ((service, function), asked) = (path.0, asked(pages)?);
    let name = name(&plain_service(&service)?, &function)?;
    let rows = api.deploy.look(|state| super::row(state, &name).map(|row| all(state, row)))?;
    let (triggers, next_token) = asked.page(rows.into_iter().map(|row| (row.trigger_name.clone(), row)).collect());
    Ok(JsonBody(List { triggers, next_token }))
}

/// Makes a trigger.
#[utoipa::path(
    post,
    path = "/2016-08-15/services/{service}/functions/{function}/triggers",
    tag = "function compute",
    operation_id = "fc_trigger_create",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path)),
    request_body(content = Given, example = json!({
        "triggerName": "morning",
        "triggerType": "timer",
        "triggerConfig": {"cronExpression": "CRON_TZ=Asia/Shanghai 0 0 8 * * *", "payload": "daily", "enable": true},
    })),
    responses((status = 200, body = Shown)),
)]
pub async fn create(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let ((service, function), body) = (path.0, read::<Given>(body).await?);
    let name = name(&plain_service(&service)?, &function)?;
    let absent = |what: &str| ApiError::bad_request(format!("`{what}` is missing"));
    let kind = body.trigger_type.as_deref().ok_or_else(|| absent("triggerType"))?;
    let config = body.config(kind)?.ok_or_else(|| absent("triggerConfig"))?;
    let target = body.target(kind, &name)?.unwrap_or_else(|| name.clone());
    let trigger = body.trigger_name.clone().ok_or_else(|| absent("triggerName"))?;
    check_timer(&trigger).map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    let text = description(body.description.as_deref())?.unwrap_or_default();
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        if find(state, &name, &trigger).is_ok() {
            return Err(conflict("TriggerAlreadyExists", format!("function `{name}` has a trigger `{trigger}` already")));
        }
        add(state, &name, &trigger, config, target)?;
        state.notes.triggers.insert(key(&name, &trigger), Note::new(text, now_ms));
        find(state, &name, &trigger)
    });
    row.await.map(|row| answer(&row))
}

fn add(state: &mut State, name: &FunctionName, trigger: &str, config: Config, target: FunctionName) -> Result<(), ApiError> {
    match config {
        Config::Timer(config) => {
            let (schedule, payload) = (Schedule::EveryS(0), String::new());
            let mut timer = Timer { name: trigger.to_owned(), schedule, payload, missed: Missed::default() };
            config.apply(&mut timer)?;
            row_mut(state, name)?.timers.push(timer);
        }
        Config::Route(config) => route::add(state, name, trigger, config, target)?,
        Config::Http(config) => {
            if let Some(other) = http_name(state, super::row(state, name)?) {
                let message = format!("function `{name}` has the HTTP trigger `{other}`, and can have one only");
                return Err(conflict("TriggerAlreadyExists", message));
            }
            row_mut(state, name)?.http = Some(config.trigger(name)?);
            state.notes.functions.entry(name.clone()).or_default().http_trigger = Some(trigger.to_owned());
        }
    }
    Ok(())
}

/// A trigger.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}/triggers/{trigger}",
    tag = "function compute",
    operation_id = "fc_trigger_get",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("function" = String, Path), ("trigger" = String, Path)),
    responses((status = 200, body = Shown)),
)]
pub async fn get(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<(String, String, String)>) -> Result<Response, ApiError> {
    let (name, trigger) = names(path)?;
    let row = api.deploy.look(|state| find(state, &name, &trigger))?;
    Ok(answer(&row))
}

/// Changes a trigger.
#[utoipa::path(
    put,
    path = "/2016-08-15/services/{service}/functions/{function}/triggers/{trigger}",
    tag = "function compute",
    operation_id = "fc_trigger_update",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path), ("trigger" = String, Path)),
    request_body(content = Given, example = json!({"triggerConfig": {"cronExpression": "@every 1h", "payload": "hourly", "enable": true}})),
    responses((status = 200, body = Shown)),
)]
pub async fn update(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let ((name, trigger), expected) = (names(path)?, Expected::of(&headers));
    let body: Given = read(body).await?;
    let text = description(body.description.as_deref())?;
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        let before = find(state, &name, &trigger)?;
        expected.check(&before)?;
        let kind = before.trigger_type.as_str();
        let (config, target) = (body.config(kind)?, body.target(kind, &name)?);
        match config {
            Some(Config::Timer(config)) => {
                if let Some(timer) = row_mut(state, &name)?.timers.iter_mut().find(|timer| timer.name == trigger) {
                    config.apply(timer)?;
                }
            }
            Some(Config::Http(config)) => {
                let changed = config.trigger(&name)?;
                let row = row_mut(state, &name)?;
                row.http = row.http.take().map(|before| HttpTrigger { prefix: before.prefix, ..changed });
            }
            Some(Config::Route(config)) => route::change(state, &name, &trigger, Some(config), target)?,
            None if kind == ROUTE => route::change(state, &name, &trigger, None, target)?,
            None => {}
        }
        let note = state.notes.triggers.entry(key(&name, &trigger)).or_insert_with(|| Note::new(String::new(), now_ms));
        note.modified_ms = now_ms;
        if let Some(text) = text {
            note.description = text;
        }
        find(state, &name, &trigger)
    });
    row.await.map(|row| answer(&row))
}

/// Deletes a trigger.
#[utoipa::path(
    delete,
    path = "/2016-08-15/services/{service}/functions/{function}/triggers/{trigger}",
    tag = "function compute",
    operation_id = "fc_trigger_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path), ("trigger" = String, Path)),
    responses((status = 204)),
)]
pub async fn delete(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let ((name, trigger), expected) = (names(path)?, Expected::of(&headers));
    changed(&api, caller, vec![], move |state, _| {
        let before = find(state, &name, &trigger)?;
        expected.check(&before)?;
        match before.trigger_type.as_str() {
            ROUTE => route::delete(state, &name, &trigger),
            HTTP => {
                // Nothing else starts such a function: users may go on asking it.
                let is_custom = state.notes.functions.get(&name).is_some_and(|note| note.runtime == CUSTOM);
                row_mut(state, &name)?.http = is_custom.then(|| http(&name));
                if let Some(note) = state.notes.functions.get_mut(&name) {
                    note.http_trigger = None;
                }
            }
            _ => row_mut(state, &name)?.timers.retain(|timer| timer.name != trigger),
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

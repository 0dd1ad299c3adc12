//! Triggers of functions: timers, and HTTP.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::page::{Asked, Pages, asked};
use super::service::description;
use super::{Expected, PathOf, answer, changed, conflict, given, missing, name, plain_service, read, row_mut};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::deploy::{Note, State};
use crate::limit::INTERVAL_S;
use crate::name::{FunctionName, LATEST, check_timer};
use crate::schedule::{self, Schedule};
use crate::set::{self, HttpAuth, HttpTrigger, Missed, Timer};

/// What the HTTP trigger of a deployment is called here.
const HTTP: &str = "http";
/// The runtime of functions that are started by HTTP requests alone.
pub const CUSTOM: &str = "custom";
const UTC: &str = "UTC";

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcTrigger)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    trigger_name: String,
    trigger_id: String,
    /// `timer` or `http`.
    trigger_type: String,
    /// Of a timer `payload`, `cronExpression`, `enable`; of HTTP `authType`, `methods`.
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
    /// `timer` or `http`. Not where there is one.
    trigger_type: Option<String>,
    /// Of a timer `payload`, `cronExpression`, `enable`; of HTTP `authType`, `methods`.
    #[schema(value_type = Option<Object>)]
    trigger_config: Option<Json>,
    description: Option<String>,
    qualifier: Option<String>,
    #[schema(ignore)]
    source_arn: Option<IgnoredAny>,
    #[schema(ignore)]
    invocation_role: Option<IgnoredAny>,
}

/// What is asked for, parsed.
enum Config {
    Timer(TimerConfig),
    Http(HttpConfig),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TimerConfig {
    cron_expression: String,
    #[serde(default)]
    payload: Option<String>,
    #[serde(default = "yes")]
    enable: bool,
}

fn yes() -> bool {
    true
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
    fn check(&self) -> Result<(), ApiError> {
        match self.qualifier.as_deref() {
            None | Some("" | LATEST) => Ok(()),
            Some(other) => Err(ApiError::bad_request(format!(
                "`qualifier` is `{}`: triggers start what is deployed; leave it out, or let it be `{LATEST}`",
                other.escape_debug()
            ))),
        }
    }

    fn config(&self, kind: &str) -> Result<Option<Config>, ApiError> {
        let Some(config) = self.trigger_config.clone() else { return Ok(None) };
        let wrong = |error: serde_json::Error| ApiError::bad_request(format!("`triggerConfig` of a trigger `{kind}`: {error}"));
        let config = match kind {
            "timer" => Config::Timer(serde_json::from_value(config).map_err(wrong)?),
            HTTP => Config::Http(serde_json::from_value(config).map_err(wrong)?),
            other => {
                let message = format!("`triggerType` is `{}`; there are `timer` and `http` (routes: `ledge route`)", other.escape_debug());
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(Some(config))
    }
}

impl TimerConfig {
    fn apply(self, timer: &mut Timer) -> Result<(), ApiError> {
        if !self.enable {
            return Err(ApiError::bad_request("`enable` is false: a timer that is not to tick is deleted here"));
        }
        timer.schedule = schedule_of(&self.cron_expression).map_err(|wrong| ApiError::bad_request(format!("`cronExpression`: {wrong}")))?;
        timer.payload = self.payload.unwrap_or_default();
        Ok(())
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

/// Parses Function Compute's expressions: `@every 5m`, and cron with seconds, which are 0 here, perhaps after `CRON_TZ=Asia/Shanghai`.
fn schedule_of(text: &str) -> Result<Schedule, String> {
    let text = text.trim();
    let expected =
        "expected `@every 5m`, or six fields: second (0), minute, hour, day of month, month, day of week, as in `0 30 8 * * 1-5`";
    if let Some(every) = text.strip_prefix("@every") {
        let seconds = seconds(every.trim()).filter(|seconds| INTERVAL_S.contains(seconds));
        return seconds.map(Schedule::EveryS).ok_or_else(|| format!("`{}`: {expected}", text.escape_debug()));
    }
    let (zone, fields) = match text.strip_prefix("CRON_TZ=").and_then(|rest| rest.split_once(char::is_whitespace)) {
        Some((zone, rest)) => (zone, rest),
        None => (UTC, text),
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ["0" | "00", fields @ ..] = fields.as_slice() else { return Err(format!("`{}`: {expected}", text.escape_debug())) };
    if fields.len() != 5 {
        return Err(format!("`{}`: {expected}", text.escape_debug()));
    }
    let schedule = Schedule::Cron { cron: fields.join(" "), time_zone: zone.to_owned() };
    schedule.parse().map(|_| schedule)
}

/// As in `1h30m`.
fn seconds(text: &str) -> Option<u32> {
    let (mut rest, mut seconds) = (text, 0u32);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = match tail.chars().next()? {
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u32>().ok()?.checked_mul(unit)?)?;
        rest = &tail[1..];
    }
    (seconds > 0).then_some(seconds)
}

fn expression(schedule: &Schedule) -> String {
    match schedule {
        Schedule::EveryS(seconds) => format!("@every {seconds}s"),
        Schedule::Cron { cron, time_zone } if time_zone == UTC => format!("0 {cron}"),
        Schedule::Cron { cron, time_zone } => format!("CRON_TZ={time_zone} 0 {cron}"),
    }
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
        shown(state, row, &timer.name, "timer", config)
    });
    let http = row.http.as_ref().zip(http_name(state, row)).map(|(http, name)| {
        let auth = if http.auth == HttpAuth::Anonymous { "anonymous" } else { "function" };
        shown(state, row, &name, HTTP, json!({"authType": auth, "methods": http.methods, "prefix": http.prefix}))
    });
    timers.chain(http).collect()
}

pub fn count(state: &State, row: &set::Function) -> usize {
    row.timers.len() + usize::from(http_name(state, row).is_some())
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
fn names(path: PathOf<(String, String, String)>) -> Result<(FunctionName, String), ApiError> {
    let (service, function, trigger) = given(path)?;
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
    path: PathOf<(String, String)>,
    pages: Pages,
) -> Result<JsonBody<List>, ApiError> {
    let ((service, function), asked) = (given(path)?, asked(pages)?);
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
    request_body = Given,
    responses((status = 200, body = Shown)),
)]
pub async fn create(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: PathOf<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let ((service, function), body) = (given(path)?, read::<Given>(body).await?);
    let name = name(&plain_service(&service)?, &function)?;
    body.check()?;
    let absent = |what: &str| ApiError::bad_request(format!("`{what}` is missing"));
    let kind = body.trigger_type.as_deref().ok_or_else(|| absent("triggerType"))?;
    let config = body.config(kind)?.ok_or_else(|| absent("triggerConfig"))?;
    let trigger = body.trigger_name.clone().ok_or_else(|| absent("triggerName"))?;
    check_timer(&trigger).map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    let text = description(body.description.as_deref())?.unwrap_or_default();
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        if find(state, &name, &trigger).is_ok() {
            return Err(conflict("TriggerAlreadyExists", format!("function `{name}` has a trigger `{trigger}` already")));
        }
        add(state, &name, &trigger, config)?;
        state.notes.triggers.insert(key(&name, &trigger), Note::new(text, now_ms));
        find(state, &name, &trigger)
    });
    row.await.map(|row| answer(&row))
}

fn add(state: &mut State, name: &FunctionName, trigger: &str, config: Config) -> Result<(), ApiError> {
    match config {
        Config::Timer(config) => {
            let (schedule, payload) = (Schedule::EveryS(0), String::new());
            let mut timer = Timer { name: trigger.to_owned(), schedule, payload, missed: Missed::default() };
            config.apply(&mut timer)?;
            row_mut(state, name)?.timers.push(timer);
        }
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
pub async fn get(Shared(api): Shared<Arc<Api>>, _: Caller, path: PathOf<(String, String, String)>) -> Result<Response, ApiError> {
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
    request_body = Given,
    responses((status = 200, body = Shown)),
)]
pub async fn update(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: PathOf<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let ((name, trigger), expected) = (names(path)?, Expected::of(&headers));
    let body: Given = read(body).await?;
    body.check()?;
    let text = description(body.description.as_deref())?;
    let row = changed(&api, caller, vec![], move |state, now_ms| {
        let before = find(state, &name, &trigger)?;
        expected.check(&before)?;
        let config = body.config(&before.trigger_type)?;
        let row = row_mut(state, &name)?;
        match config {
            Some(Config::Timer(config)) => {
                if let Some(timer) = row.timers.iter_mut().find(|timer| timer.name == trigger) {
                    config.apply(timer)?;
                }
            }
            Some(Config::Http(config)) => {
                let changed = config.trigger(&name)?;
                row.http = row.http.take().map(|before| HttpTrigger { prefix: before.prefix, ..changed });
            }
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
    path: PathOf<(String, String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let ((name, trigger), expected) = (names(path)?, Expected::of(&headers));
    changed(&api, caller, vec![], move |state, _| {
        let before = find(state, &name, &trigger)?;
        expected.check(&before)?;
        let is_custom = state.notes.functions.get(&name).is_some_and(|note| note.runtime == CUSTOM);
        let row = row_mut(state, &name)?;
        if before.trigger_type == HTTP {
            // Nothing else starts such a function: users may go on asking it.
            row.http = is_custom.then(|| http(&name));
            if let Some(note) = state.notes.functions.get_mut(&name) {
                note.http_trigger = None;
            }
        } else {
            row.timers.retain(|timer| timer.name != trigger);
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_and_told_as_the_original_has_them() {
        for text in ["@every 300s", "0 30 8 * * 1-5", "CRON_TZ=Asia/Shanghai 0 0 4 * * *"] {
            assert_eq!(expression(&schedule_of(text).unwrap()), text);
        }
        assert_eq!(schedule_of("@every 1h30m"), Ok(Schedule::EveryS(5_400)));
        for wrong in [
            "",
            "@every",
            "@every 0s",
            "@every 5",
            "@every 99999999999h",
            "30 8 * * *",
            "5 30 8 * * *",
            "0 61 8 * * *",
            "CRON_TZ=Moon 0 0 4 * * *",
            "0 0 0 30 2 *",
        ] {
            assert!(schedule_of(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_expression_is_read_or_refused(text in "(@every |CRON_TZ=[A-Za-z/]{0,8} )?[0-9hms*/,? -]{0,20}|.{0,30}") {
            if let Ok(schedule) = schedule_of(&text) {
                proptest::prop_assert_eq!(schedule_of(&expression(&schedule)), Ok(schedule));
            }
        }
    }
}

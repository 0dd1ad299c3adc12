//! Functions: made, changed and deleted one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::page::{Asked, Pages, asked};
use super::trigger::{CUSTOM, http};
use super::{Expected, answer, changed, code, conflict, name, no_service, plain_service, row_mut, service};
use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::given::InPath;
use crate::api::upload::{Upload, blocking};
use crate::api::{Api, body};
use crate::deploy::{CodeNote, FunctionNote, Note, State};
use crate::grant::{Env, Grants};
use crate::limit::{COMPONENT_BYTES_MAX, DEADLINE_MS, Limits, MEMORY_BYTES};
use crate::name::FunctionName;
use crate::schedule;
use crate::set::{self, Digest, Mode};

/// Room for a component in base64, and what is around it.
const BODY_BYTES_MAX: usize = COMPONENT_BYTES_MAX / 3 * 4 + (64 << 10);
const INSTANCE_CONCURRENCY_MAX: u32 = 100;
const TEXT_CHARS_MAX: usize = 256;

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcFunction)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    function_name: String,
    function_id: String,
    description: String,
    runtime: String,
    handler: String,
    /// MiB.
    memory_size: u64,
    /// Seconds.
    timeout: u64,
    /// The names. Values are never told.
    #[schema(value_type = std::collections::HashMap<String, Option<String>>)]
    environment_variables: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_concurrency: Option<u32>,
    /// Of the package, in bytes, if the component came in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_size: Option<u64>,
    /// CRC-64 of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_checksum: Option<String>,
    /// SHA-256 of the component.
    component: String,
    /// What it may do, as a deployment has it.
    #[schema(value_type = Grants)]
    grants: Json,
    /// ISO 8601. Left out for a function that came with a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = FcFunctions)]
#[serde(rename_all = "camelCase")]
pub struct List {
    functions: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// What a function is made of. What is left out stays as it is, or is what it is where a manifest is silent.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FcFunctionGiven)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "what has no counterpart is taken and not looked at")]
pub struct Given {
    /// Not where the path has it.
    function_name: Option<String>,
    description: Option<String>,
    /// Kept and told. `custom`: the component answers HTTP requests, from the beginning those of users below `/SERVICE/FUNCTION`.
    runtime: Option<String>,
    /// Kept and told; a component exports one handler.
    handler: Option<String>,
    code: Option<Code>,
    /// MiB of linear memory, 1 to 256.
    memory_size: Option<u64>,
    /// Seconds, 1 to 300, of wall clock and of computing.
    timeout: Option<u64>,
    /// All of them. `null` in the place of a value keeps the one that is there.
    #[schema(value_type = Option<std::collections::HashMap<String, Option<String>>>)]
    environment_variables: Option<BTreeMap<String, Option<Zeroizing<String>>>>,
    /// Kept and told: each call has an instance of its own.
    instance_concurrency: Option<u32>,
    /// What it may do, as a deployment has it, but for `env`. Ledge's own.
    #[schema(value_type = Option<Object>)]
    grants: Option<Grants>,
    #[schema(ignore)]
    initializer: Option<IgnoredAny>,
    #[schema(ignore)]
    initialization_timeout: Option<IgnoredAny>,
    #[schema(ignore)]
    instance_type: Option<IgnoredAny>,
    #[schema(ignore)]
    ca_port: Option<IgnoredAny>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FcCode)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "it is taken so that the refusal can say what is missing")]
pub struct Code {
    /// In base64: a zip with one file, a component `*.wasm` of 32 MiB at most, or the component itself.
    #[schema(example = "UEsDBAoAAAA...")]
    zip_file: Option<String>,
    #[schema(ignore)]
    oss_bucket_name: Option<IgnoredAny>,
    #[schema(ignore)]
    oss_object_name: Option<IgnoredAny>,
}

/// A component that is on this gateway's disk, and what else was asked for.
struct Request {
    given: Given,
    code: Option<CodeNote>,
}

/// Reads a request, and keeps its component.
async fn read(api: &Arc<Api>, body: Body) -> Result<Request, ApiError> {
    let Upload { bytes, place } = api.component_uploads.read(body, BODY_BYTES_MAX).await?;
    let parse = move || {
        let given: Given = body::parse(&bytes)?;
        given.check().map_err(ApiError::bad_request)?;
        Ok((given, place))
    };
    let (mut given, place) = blocking("reading a function", parse).await?;
    let Some(code) = given.code.take() else { return Ok(Request { given, code: None }) };
    let base64 = code.zip_file.ok_or_else(|| {
        ApiError::bad_request("`code.zipFile` is missing; a component comes with the request, from an object store none is fetched")
    })?;
    // Also a small package may have a large component in it.
    let place = if place.is_some() { place } else { Some(api.component_uploads.place().await?) };
    let deploy = api.deploy.clone();
    let keep = move || {
        let _place = place;
        let (component, code) = code::unpack(&base64).map_err(ApiError::bad_request)?;
        drop(base64);
        deploy.put_component(&code.component, &component)?;
        Ok(code)
    };
    let code = blocking("keeping a component", keep).await?;
    Ok(Request { given, code: Some(code) })
}

impl Given {
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: Option<u64>, low: u64, high: u64| match value {
            Some(value) if !(low..=high).contains(&value) => Err(format!("`{name}` is {value}; expected {low} to {high}")),
            _ => Ok(()),
        };
        within("memorySize", self.memory_size, MEMORY_BYTES.start() >> 20, MEMORY_BYTES.end() >> 20)?;
        within("timeout", self.timeout, 1, DEADLINE_MS.end() / 1_000)?;
        within("instanceConcurrency", self.instance_concurrency.map(u64::from), 1, INSTANCE_CONCURRENCY_MAX.into())?;
        for (name, text) in [("description", &self.description), ("runtime", &self.runtime), ("handler", &self.handler)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
                return Err(format!("`{name}` has more than {TEXT_CHARS_MAX} characters"));
            }
        }
        if self.grants.as_ref().is_some_and(|grants| !grants.env.0.is_empty()) {
            return Err("`grants.env` is given; the environment's place is `environmentVariables`".to_owned());
        }
        Ok(())
    }

    /// Makes of a function what is asked for.
    fn apply(self, row: &mut set::Function, note: &mut FunctionNote) -> Result<(), String> {
        if let Some(mib) = self.memory_size {
            row.limits.memory_bytes = mib << 20;
        }
        if let Some(seconds) = self.timeout {
            (row.limits.deadline_ms, row.limits.cpu_ms) = (seconds * 1_000, seconds * 1_000);
        }
        let env = match self.environment_variables {
            Some(given) => environment(given, &row.grants.env)?,
            None => row.grants.env.clone(),
        };
        let grants = self.grants.unwrap_or_else(|| Grants::clone(&row.grants));
        row.grants = Arc::new(Grants { env, ..grants });
        for (own, given) in
            [(&mut note.note.description, self.description), (&mut note.runtime, self.runtime), (&mut note.handler, self.handler)]
        {
            if let Some(given) = given {
                *own = given;
            }
        }
        note.instance_concurrency = self.instance_concurrency.or(note.instance_concurrency);
        Ok(())
    }
}

fn environment(given: BTreeMap<String, Option<Zeroizing<String>>>, before: &Env) -> Result<Env, String> {
    let value = |(name, value): (String, Option<Zeroizing<String>>)| {
        let kept = || before.0.get(&name).cloned();
        let missing = || format!("`environmentVariables`: `{}` has no value, and had none before", name.escape_debug());
        let value = value.map(|value| value.to_string()).or_else(kept).ok_or_else(missing)?;
        Ok((name, value))
    };
    given.into_iter().map(value).collect::<Result<_, String>>().map(Env)
}

fn shown(state: &State, row: &set::Function) -> Shown {
    let note = state.notes.functions.get(&row.name);
    let code = note.and_then(|note| note.code.as_ref()).filter(|code| code.component == row.component);
    let text = |of: fn(&FunctionNote) -> &String| note.map(of).cloned().unwrap_or_default();
    let mut grants = json!(row.grants);
    if let Some(grants) = grants.as_object_mut() {
        grants.remove("env");
    }
    Shown {
        function_name: row.name.function().to_owned(),
        function_id: row.name.to_string(),
        description: text(|note| &note.note.description),
        runtime: text(|note| &note.runtime),
        handler: text(|note| &note.handler),
        memory_size: row.limits.memory_bytes.div_ceil(1 << 20),
        timeout: row.limits.deadline_ms.div_ceil(1_000),
        environment_variables: row.grants.env.0.keys().map(|name| (name.clone(), None)).collect(),
        instance_concurrency: note.and_then(|note| note.instance_concurrency),
        code_size: code.map(|code| code.bytes),
        code_checksum: code.map(|code| code.checksum.clone()),
        component: row.component.as_str().to_owned(),
        grants,
        created_time: note.and_then(|note| moment(note.note.created_ms)),
        last_modified_time: note.and_then(|note| moment(note.note.modified_ms)),
    }
}

/// 0 where a trigger was added to a function that came with a deployment.
fn moment(ms: u64) -> Option<String> {
    (ms > 0).then(|| schedule::iso_ms(ms))
}

/// Functions of a service, in the order of their names.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions",
    tag = "function compute",
    operation_id = "fc_function_list",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), Asked),
    responses((status = 200, body = List)),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<String>, pages: Pages) -> Result<JsonBody<List>, ApiError> {
    let ((service, qualifier), asked) = (service(&path.0)?, asked(pages)?);
    let rows = api.deploy.look(|state| {
        let rows = super::rows(state, &service, qualifier.as_deref())?;
        Ok::<_, ApiError>(rows.iter().map(|row| (row.name.function().to_owned(), shown(state, row))).collect())
    })?;
    let (functions, next_token) = asked.page(rows);
    Ok(JsonBody(List { functions, next_token }))
}

/// Makes a function.
#[utoipa::path(
    post,
    path = "/2016-08-15/services/{service}/functions",
    tag = "function compute",
    operation_id = "fc_function_create",
    security(("session" = ["deploy"])),
    params(("service" = String, Path)),
    request_body(content = Given, example = json!({
        "functionName": "hello",
        "description": "says hello",
        "runtime": "wasm",
        "handler": "handler",
        "memorySize": 64,
        "timeout": 5,
        "environmentVariables": {"GREETING": "hello"},
        "code": {"zipFile": "UEsDBAoAAAA..."},
    })),
    responses((status = 200, body = Shown)),
)]
pub async fn create(Shared(api): Shared<Arc<Api>>, caller: Caller, path: InPath<String>, body: Body) -> Result<Response, ApiError> {
    let service = plain_service(&path.0)?;
    let Request { given, code } = read(&api, body).await?;
    let function = given.function_name.clone().ok_or_else(|| ApiError::bad_request("`functionName` is missing"))?;
    let (name, code) = (name(&service, &function)?, code.ok_or_else(|| ApiError::bad_request("`code` is missing"))?);
    let row = changed(&api, caller, vec![name.to_string()], move |state, now_ms| {
        if !state.notes.has_service(&state.set, &service) {
            return Err(no_service(&service));
        }
        if state.set.functions.iter().any(|row| row.name == name) {
            return Err(conflict("FunctionAlreadyExists", format!("there is a function `{name}` already")));
        }
        let mut row = new_row(name.clone(), code.component.clone());
        let mut note = FunctionNote { note: Note::new(String::new(), now_ms), code: Some(code), ..FunctionNote::default() };
        given.apply(&mut row, &mut note).map_err(ApiError::bad_request)?;
        if note.runtime == CUSTOM {
            row.http = Some(http(&name));
        }
        state.notes.functions.insert(name, note);
        state.set.functions.push(row.clone());
        Ok(shown(state, &row))
    });
    row.await.map(|row| answer(&row))
}

fn new_row(name: FunctionName, component: Digest) -> set::Function {
    set::Function {
        name,
        component,
        limits: Limits::default(),
        grants: Arc::default(),
        reuse: 0,
        mode: Mode::OnDemand,
        asynchronous: None,
        timers: vec![],
        health: None,
        http: None,
    }
}

/// A function.
#[utoipa::path(
    get,
    path = "/2016-08-15/services/{service}/functions/{function}",
    tag = "function compute",
    operation_id = "fc_function_get",
    security(("session" = ["functions.read"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 200, body = Shown)),
)]
pub async fn get(Shared(api): Shared<Arc<Api>>, _: Caller, path: InPath<(String, String)>) -> Result<Response, ApiError> {
    let (service, function) = path.0;
    let name = name(&service, &function)?;
    let row = api.deploy.look(|state| super::row(state, &name).map(|row| shown(state, row)))?;
    Ok(answer(&row))
}

/// Changes a function: what is given, and nothing else.
#[utoipa::path(
    put,
    path = "/2016-08-15/services/{service}/functions/{function}",
    tag = "function compute",
    operation_id = "fc_function_update",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path)),
    request_body(content = Given, example = json!({"description": "says hello", "memorySize": 64, "timeout": 5})),
    responses((status = 200, body = Shown)),
)]
pub async fn update(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let ((service, function), expected) = (path.0, Expected::of(&headers));
    let name = name(&plain_service(&service)?, &function)?;
    let Request { given, code } = read(&api, body).await?;
    if given.function_name.as_ref().is_some_and(|given| given != name.function()) {
        return Err(ApiError::bad_request("`functionName` is another one than in the path: a function keeps its name"));
    }
    let row = changed(&api, caller, vec![name.to_string()], move |state, now_ms| {
        let mut row = row_mut(state, &name)?.clone();
        expected.check(&shown(state, &row))?;
        let mut note = state.notes.functions.remove(&name).unwrap_or_default();
        if note.note.created_ms == 0 {
            note.note.created_ms = now_ms;
        }
        note.note.modified_ms = now_ms;
        if let Some(code) = code {
            row.component = code.component.clone();
            note.code = Some(code);
        }
        given.apply(&mut row, &mut note).map_err(ApiError::bad_request)?;
        state.notes.functions.insert(name.clone(), note);
        *row_mut(state, &name)? = row.clone();
        Ok(shown(state, &row))
    });
    row.await.map(|row| answer(&row))
}

/// Deletes a function that has no triggers any more. What was published of it stays.
#[utoipa::path(
    delete,
    path = "/2016-08-15/services/{service}/functions/{function}",
    tag = "function compute",
    operation_id = "fc_function_delete",
    security(("session" = ["deploy"])),
    params(("service" = String, Path), ("function" = String, Path)),
    responses((status = 204)),
)]
pub async fn delete(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let ((service, function), expected) = (path.0, Expected::of(&headers));
    let name = name(&plain_service(&service)?, &function)?;
    changed(&api, caller, vec![], move |state, now_ms| {
        let row = super::row(state, &name)?;
        expected.check(&shown(state, row))?;
        if super::trigger::count(state, row) > 0 {
            return Err(conflict("FunctionNotEmpty", format!("function `{name}` has triggers; delete them first")));
        }
        state.set.functions.retain(|row| row.name != name);
        // Its service stays, as in the original, also if it came with a deployment.
        let service = name.service().to_owned();
        state.notes.services.entry(service).or_insert_with(|| Note::new(String::new(), now_ms));
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

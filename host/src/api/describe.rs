//! The API's description (OpenAPI 3.1), which is made from the handlers, and the table of who may do what, which is read from it.
//!
//! A handler says `security(("session" = ["things.read"]))`: the permission that it needs. No permission means every user, no security at
//! all everybody. What all operations have in common is added here.

pub mod form;
mod parameter;
pub mod v1;

use std::collections::HashMap;

use axum::http::Method;
use serde_json::{Map, Value as Json, json};
use utoipa::OpenApi;

use crate::auth::Permission;

/// The head of the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ledge",
        description = "The API of the edge gateway: OpenAPI v1 of Link IoT Edge (`/auth`, `/thing`), its later version (`/2020-04-30`), function management in the shapes of Function Compute (`/2016-08-15`) and Ledge's own (`/ledge`)."
    ),
    components(schemas(form::Error, form::LaterError, form::FcError))
)]
pub struct Ledge;

/// Who may ask for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Everybody,
    /// Whoever has proved who they are.
    Users,
    With(Permission),
}

/// What the description says of each operation, by its path and its method.
pub struct Operations(HashMap<String, HashMap<Method, Who>>);

impl Operations {
    pub fn read(document: &Json) -> Self {
        let mut paths: HashMap<String, HashMap<Method, Who>> = HashMap::new();
        each_operation(document, |path, method, operation| {
            let method = method.to_ascii_uppercase().parse().expect("the name of a method");
            paths.entry(path.to_owned()).or_default().insert(method, who(operation));
        });
        Self(paths)
    }

    /// What is not described is the administrators' alone.
    pub fn who(&self, method: &Method, path: &str) -> Who {
        let methods = self.0.get(path);
        let described = methods.and_then(|methods| methods.get(if method == Method::HEAD { &Method::GET } else { method }));
        described.copied().unwrap_or(Who::With(Permission::Users))
    }
}

fn who(operation: &Json) -> Who {
    let scopes = operation["security"].as_array().and_then(|security| security.first()?.get("session")?.as_array());
    match scopes.map(Vec::as_slice) {
        None => Who::Everybody,
        Some([]) => Who::Users,
        Some([scope, ..]) => Who::With(scope.as_str().and_then(|name| name.parse().ok()).expect("a permission; tested")),
    }
}

fn each_operation(document: &Json, mut visit: impl FnMut(&str, &str, &Json)) {
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            visit(path, method, operation);
        }
    }
}

/// With what all operations have in common.
pub fn complete(document: &utoipa::openapi::OpenApi) -> Json {
    let mut document = serde_json::to_value(document).expect("a description is JSON");
    document["components"]["securitySchemes"] = json!({
        "session": {"type": "apiKey", "in": "cookie", "name": super::caller::COOKIE_NAME, "description": "of `/auth/login`"},
        "basic": {"type": "http", "scheme": "basic"},
        "signature": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`FC <access key id>:<signature>`"},
    });
    for (_, name, description) in ERRORS {
        for api in APIS {
            document["components"]["responses"][format!("{}{name}", api.prefix)] =
                json!({"description": description, "content": api.error()});
        }
    }
    for (path, methods) in document["paths"].as_object_mut().into_iter().flatten() {
        for operation in methods.as_object_mut().into_iter().flat_map(Map::values_mut) {
            complete_operation(path, operation);
        }
    }
    document
}

fn complete_operation(path: &str, operation: &mut Json) {
    let who = who(operation);
    if who != Who::Everybody {
        let scopes = operation["security"][0]["session"].clone();
        operation["security"] = json!([{"session": scopes}, {"basic": scopes}, {"signature": scopes}]);
    }
    for parameter in operation.get_mut("parameters").and_then(Json::as_array_mut).into_iter().flatten() {
        parameter::complete(parameter);
    }
    let api = APIS.iter().find(|api| path.starts_with(api.path)).expect("the last one begins every path");
    let is_of_users = who != Who::Everybody;
    let responses = operation["responses"].as_object_mut().expect("every operation has an answer");
    for (status, name, _) in ERRORS {
        let is_usual = match status {
            // A head that is wrong, a page of somebody else's, and too many connections are everybody's.
            "400" | "403" | "421" => true,
            "401" | "503" => is_of_users,
            "404" => path.contains('{') || api.is_whole,
            _ => api.is_whole,
        };
        let usual = || json!({"$ref": format!("#/components/responses/{}{name}", api.prefix)});
        match responses.get_mut(status) {
            None if is_usual => drop(responses.insert(status.to_owned(), usual())),
            // What the handler says without an answer's form is an error.
            Some(own) if own.get("content").is_none() && !is_said(own) => *own = usual(),
            Some(own) if own.get("content").is_none() => own["content"] = api.error(),
            _ => {}
        }
    }
    for response in responses.values_mut().filter(|response| response.get("$ref").is_none() && !is_said(response)) {
        response["description"] = json!("it went well");
    }
}

fn is_said(response: &Json) -> bool {
    response["description"].as_str().is_some_and(|text| !text.is_empty())
}

/// Those that have errors of their own form.
struct ErrorsOf {
    path: &'static str,
    prefix: &'static str,
    schema: &'static str,
    /// Whether every status may come of any operation.
    is_whole: bool,
}

impl ErrorsOf {
    fn error(&self) -> Json {
        json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{}", self.schema)}}})
    }
}

const APIS: [ErrorsOf; 3] = [
    ErrorsOf { path: "/2020-04-30/", prefix: "Later", schema: "LaterError", is_whole: false },
    ErrorsOf { path: "/2016-08-15/", prefix: "Fc", schema: "FcError", is_whole: true },
    ErrorsOf { path: "/", prefix: "", schema: "Error", is_whole: false },
];

const ERRORS: [(&str, &str, &str); 9] = [
    ("400", "Wrong", "the request is wrong"),
    ("401", "Unauthorized", "no session, or one that has ended"),
    ("403", "Forbidden", "the user may not do this, or a page of somebody else's asked"),
    ("404", "Missing", "there is no such thing here"),
    ("409", "Conflict", "not as things stand"),
    ("412", "Changed", "it was changed since its `ETag` was read"),
    ("421", "TooMany", "too many connections of this client"),
    ("500", "Failed", "the gateway, or a driver, failed"),
    ("503", "Busy", "not now: try again"),
];

//! The API's description (OpenAPI 3.1), which is made from the handlers, and the table of who may do what, which is read from it.
//!
//! A handler says `security(("session" = ["things.read"]))`: the permission that it needs. No permission means every user, no security at
//! all everybody. What all operations have in common is added here.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::{Map, Value as Json, json};
use utoipa::{OpenApi, ToSchema};

use crate::auth::Permission;

/// The head of the description.
#[derive(OpenApi)]
#[openapi(info(
    title = "Ledge",
    description = "The API of the edge gateway: OpenAPI v1 of Link IoT Edge (`/auth`, `/thing`), its later version (`/2020-04-30`), function management in the shapes of Function Compute (`/2016-08-15`) and Ledge's own (`/ledge`)."
))]
pub struct Ledge;

/// The request of OpenAPI v1 (manual 3.3). The body is JSON whatever its Content-Type says.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is read by hand, since the manual is not of one mind")]
pub struct Request {
    #[schema(value_type = Object)]
    request: Option<Json>,
    #[schema(value_type = Object)]
    params: Json,
}

/// The request of a login (manual 3.3.1).
#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `Request`")]
pub struct LoginRequest {
    params: LoginParams,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `Request`")]
pub struct LoginParams {
    #[schema(rename = "UserName")]
    user_name: String,
    #[schema(rename = "Password")]
    password: String,
}

/// The answer of OpenAPI v1 (manual 3.3), and of every error. The HTTP status equals `code`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `Request`")]
pub struct Envelope {
    code: u16,
    message: String,
    data: Json,
}

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
    document["components"]["schemas"]["LaterError"] = json!({
        "type": "object",
        "required": ["Code", "Message"],
        "properties": {"Code": {"type": "string"}, "Message": {"type": "string"}},
        "description": "an error below `/2020-04-30`",
    });
    document["components"]["schemas"]["FcError"] = json!({
        "type": "object",
        "required": ["ErrorCode", "ErrorMessage"],
        "properties": {"ErrorCode": {"type": "string"}, "ErrorMessage": {"type": "string"}},
        "description": "an error below `/2016-08-15`",
    });
    let either = ["Envelope", "LaterError", "FcError"].map(|name| json!({"$ref": format!("#/components/schemas/{name}")}));
    let schema = json!({"application/json": {"schema": {"oneOf": either}}});
    for (name, description) in [
        ("Wrong", "the request is wrong"),
        ("Unauthorized", "no session, or one that has ended"),
        ("Forbidden", "the user may not do this"),
        ("Missing", "there is no such thing here"),
        ("Conflict", "not as things stand"),
        ("Changed", "it was changed since its `ETag` was read"),
        ("TooMany", "too many connections of this client"),
        ("Failed", "the gateway, or a driver, failed"),
        ("Busy", "not now: try again"),
    ] {
        document["components"]["responses"][name] = json!({"description": description, "content": schema});
    }
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.flat_map(|methods| methods.as_object_mut().into_iter().flat_map(Map::values_mut)) {
        let who = who(operation);
        let responses = operation["responses"].as_object_mut().expect("every operation has an answer");
        let mut add = |status: &str, name: &str| {
            responses.entry(status).or_insert_with(|| json!({"$ref": format!("#/components/responses/{name}")}));
        };
        for (status, name) in [
            ("400", "Wrong"),
            ("404", "Missing"),
            ("409", "Conflict"),
            ("412", "Changed"),
            ("421", "TooMany"),
            ("500", "Failed"),
            ("503", "Busy"),
        ] {
            add(status, name);
        }
        if who != Who::Everybody {
            add("401", "Unauthorized");
            add("403", "Forbidden");
            let scopes = operation["security"][0]["session"].clone();
            operation["security"] = json!([{"session": scopes}, {"basic": scopes}, {"signature": scopes}]);
        }
    }
    document
}

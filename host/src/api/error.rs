//! The one error of the API, and its one mapping to HTTP. The HTTP status equals `code` (manual 3.2).

use std::sync::Arc;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::invoke::REQUEST_ID;
use super::spaced_json;
use crate::auth::LoginError;
use crate::function::InvokeError;
use crate::thing::fault::{self, Fault};

#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// Begins with what the manual says of the status (3.2), unless it prints another text for the case.
    message: String,
    data: Box<Json>,
    /// What Function Compute calls it, where the status does not say.
    code: Option<&'static str>,
    /// After how many seconds it is worth another try.
    retry_s: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: format!("{}: {}", reason(status), message.into()), data: Box::default(), code: None, retry_s: None }
    }

    /// With a text that the manual prints.
    pub fn as_printed(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), data: Box::default(), code: None, retry_s: None }
    }

    /// For a login that is not looked at now.
    pub fn of_login(error: LoginError, if_too_often: StatusCode) -> Self {
        match error {
            LoginError::TooOften { wait_s } => Self { retry_s: Some(wait_s), ..Self::new(if_too_often, error.to_string()) },
            other => Self { retry_s: Some(1), ..Self::unavailable(other.to_string()) },
        }
    }

    pub fn with_data(self, data: Json) -> Self {
        Self { data: Box::new(data), ..self }
    }

    /// With what Function Compute calls it.
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The manual's own words for a missing or an expired cookie (3.4.1).
    pub fn unauthorized() -> Self {
        Self::as_printed(StatusCode::UNAUTHORIZED, "resqust auth error")
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// For what cannot be done now, and may in so many seconds.
    pub fn later(message: impl Into<String>, seconds: u64) -> Self {
        Self { retry_s: Some(seconds), ..Self::unavailable(message) }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// As the later API has it: `{"Code", "Message"}` (FACTS 5.2).
    pub fn into_later(self) -> Response {
        let code = match self.status {
            StatusCode::BAD_REQUEST => "InvalidParameter",
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            StatusCode::MISDIRECTED_REQUEST => "TooManyConnections",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "InternalError",
        };
        let mut response = (self.status, spaced_json::Body(json!({"Code": code, "Message": self.message}))).into_response();
        self.say_when(&mut response);
        response
    }

    /// As Function Compute has it: `{"ErrorCode", "ErrorMessage"}`.
    fn into_function_compute(self) -> Response {
        let code = self.code.unwrap_or(match self.status {
            StatusCode::BAD_REQUEST => "InvalidArgument",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "AccessDenied",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "PathNotSupported",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::PRECONDITION_FAILED => "PreconditionFailed",
            StatusCode::MISDIRECTED_REQUEST | StatusCode::TOO_MANY_REQUESTS => "ResourceExhausted",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "InternalServerError",
        });
        let body = json!({"ErrorCode": code, "ErrorMessage": self.message});
        let mut response = (self.status, spaced_json::Body(body)).into_response();
        self.say_when(&mut response);
        response
    }

    /// The body, as text.
    pub fn text(&self) -> String {
        spaced_json::to_string(&json!({"code": self.status.as_u16(), "message": self.message, "data": self.data}))
    }

    fn say_when(&self, response: &mut Response) {
        if let Some(seconds) = self.retry_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
    }

    pub fn internal(what: &str, error: &anyhow::Error) -> Self {
        tracing::error!("{what}: {error:#}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{what}: {error:#}"))
    }
}

/// What the manual calls a status; for others, the standard's words.
pub fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FOUND => "Move temporarily",
        StatusCode::MISDIRECTED_REQUEST => "Too Many Connections",
        other => other.canonical_reason().unwrap_or("error"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"code": self.status.as_u16(), "message": self.message, "data": self.data});
        let mut response = (self.status, spaced_json::Body(body)).into_response();
        self.say_when(&mut response);
        // For [`Form`], where the path has another form of errors.
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The form that errors have in the API of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    V1,
    Later,
    FunctionCompute,
}

impl Form {
    pub fn of(path: &str) -> Self {
        match path {
            _ if path.starts_with("/2020-04-30/") => Self::Later,
            _ if path.starts_with("/2016-08-15/") => Self::FunctionCompute,
            _ => Self::V1,
        }
    }

    pub fn given_to(self, mut response: Response) -> Response {
        match response.extensions_mut().remove::<Arc<ApiError>>() {
            Some(error) if self == Self::Later => response = Arc::try_unwrap(error).map_or(response, ApiError::into_later),
            Some(error) if self == Self::FunctionCompute => {
                response = Arc::try_unwrap(error).map_or(response, ApiError::into_function_compute)
            }
            _ => {}
        }
        if self == Self::FunctionCompute && !response.headers().contains_key(REQUEST_ID) {
            let id = uuid::Uuid::new_v4().to_string();
            response.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(&id).expect("a UUID is ASCII"));
        }
        response
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let status = match fault.code {
            _ if fault.is_of_answer => StatusCode::INTERNAL_SERVER_ERROR,
            fault::FUNCTION_NOT_EXIST => StatusCode::NOT_FOUND,
            fault::DEVICE_OFFLINE | fault::TIMEOUT | fault::TOO_MANY => StatusCode::SERVICE_UNAVAILABLE,
            fault::INVALID_PARAM | fault::PARAM_RANGE_OVERFLOW | fault::DEVICE_UNREGISTER..=fault::INVALID_TYPE => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, fault.to_string())
    }
}

impl From<InvokeError> for ApiError {
    fn from(error: InvokeError) -> Self {
        let status = match error {
            InvokeError::UnknownFunction(_) => StatusCode::NOT_FOUND,
            InvokeError::Busy { .. }
            | InvokeError::Broken { .. }
            | InvokeError::Loading(_)
            | InvokeError::Away { .. }
            | InvokeError::NoSlot => StatusCode::SERVICE_UNAVAILABLE,
            InvokeError::NotLoaded { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            InvokeError::CallDepth { .. } | InvokeError::OnlyHttp(_) => StatusCode::BAD_REQUEST,
        };
        let code = matches!(error, InvokeError::UnknownFunction(_)).then_some("FunctionNotFound");
        Self { code, ..Self::new(status, error.to_string()) }
    }
}

pub async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no `{}` here; docs/compatibility.md lists the paths", uri.path()))
}

pub async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` does not answer {method}", uri.path()))
}

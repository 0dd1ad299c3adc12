//! What clients are told that are not served: too many, in clear where HTTPS is spoken, or in a way that nobody can read.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{HOST, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Form};
use super::{body, guard};
use crate::limit::BODY_BYTES_MAX;

/// For a client that has more connections open than it may, whatever it asks.
pub fn too_many() -> Router {
    let answer = async |request: Request| {
        let form = Form::of(request.uri().path());
        // Whoever still sends does not see an answer.
        body::drain_at_most(&mut request.into_body(), BODY_BYTES_MAX).await;
        let message = "this address has as many connections open as it may, or all together have; close some, and try again";
        guard::marked(form.given_to(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message).into_response()))
    };
    Router::new().fallback(answer)
}

/// For a client that speaks plain HTTP to the port of HTTPS. `port` is where that is, unless the client says another.
pub fn to_https(port: u16) -> Router {
    let answer = async |port, headers, uri| guard::marked(redirect(port, headers, uri));
    Router::new().fallback(answer).with_state(port)
}

/// The lines of the head and the body for a client whose request cannot be read, so that nobody knows what it asked.
pub fn unreadable(status: StatusCode) -> Option<(&'static str, String)> {
    let message = match status {
        StatusCode::BAD_REQUEST => "this is no request of HTTP/1.1",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of the request has more than 100 lines, or more than 32 KiB",
        _ => return None,
    };
    let head = "content-type: application/json; charset=utf-8\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n";
    Some((head, ApiError::new(status, message).text()))
}

fn redirect(State(port): State<u16>, headers: HeaderMap, uri: Uri) -> Response {
    let host = headers.get(HOST).and_then(|host| guard::Host::parse(host.to_str().ok()?));
    let (Some(host), Some(path)) = (host, uri.path_and_query().filter(|path| path.as_str().starts_with('/'))) else {
        return ApiError::bad_request("this port speaks HTTPS").into_response();
    };
    let to = format!("https://{}:{}{path}", host.name, host.port.unwrap_or(port));
    let error = ApiError::new(StatusCode::FOUND, format!("this port speaks HTTPS: {to}"));
    ([(LOCATION, to)], error).into_response()
}

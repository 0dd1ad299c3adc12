//! Requests that functions answer: which function, who may ask it, what of the request it sees, and what is said in its place where
//! it has no answer.

use std::sync::Arc;

use axum::http::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::json;

use super::caller::{COOKIE_NAME, Peer, identify, require};
use super::error::ApiError;
use super::guard::{self, Guard, Linked};
use super::invoke::{ERROR_TYPE, REQUEST_ID};
use super::spaced_json;
use crate::audit::Audit;
use crate::auth::{Auth, Permission};
use crate::function::http::{AnswerBody, Unanswered, serve};
use crate::function::{Failure, Function, InvokeError};
use crate::set::HttpAuth;
use crate::telemetry::printable;
use crate::trigger::http::HttpTriggers;

/// Stands before the functions.
pub struct Front {
    pub auth: Auth,
    pub audit: Audit,
    pub guard: Arc<Guard>,
    pub triggers: Arc<HttpTriggers>,
}

impl Front {
    pub async fn answer(&self, peer: Peer, mut request: Request<Incoming>) -> Response<AnswerBody> {
        let Some((auth, function)) = self.triggers.find(request.uri().path()) else {
            return error_answer(&ApiError::new(
                StatusCode::NOT_FOUND,
                format!("no function answers at `{}`; `ledge list functions` shows the prefixes", printable(request.uri().path())),
            ));
        };
        let is_tls = matches!(peer, Peer::Remote { tls: true, .. });
        if auth == HttpAuth::User {
            // A browser adds what opens the gateway, whoever's page it shows. What is anybody's is left alone: its function may want those pages.
            let (head, body) = request.into_parts();
            if let Err(error) = self.guard.admit(&head, is_tls, Linked::Nothing) {
                return error_answer(&error);
            }
            request = Request::from_parts(head, body);
            let user = identify(&self.auth, &self.audit, Some(&peer), (&request).into()).await;
            let may = user.and_then(|user| require(&self.audit, &user, Permission::FunctionsInvoke));
            if let Err(error) = may {
                return error_answer(&error);
            }
            // What opens the gateway is none of the guest's business.
            forget_credentials(request.headers_mut());
        }
        if let Some(http) = function.http.as_ref().filter(|http| !http.takes(request.method().as_str())) {
            let message = format!("`{}` answers {}, and not {}", http.prefix, http.methods.join(", "), request.method());
            let mut answer = error_answer(&ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message));
            answer.headers_mut().extend(HeaderValue::try_from(http.methods.join(", ")).map(|methods| (ALLOW, methods)));
            return answer;
        }
        if let Err(error) = check(&mut request) {
            return error_answer(&error);
        }
        match serve(function.clone(), request, is_tls).await {
            Ok(answer) => answer,
            Err(Unanswered::NotStarted(error)) => not_started(error),
            Err(Unanswered::Ended(failure)) => ended(&function, &failure),
        }
    }
}

/// Refuses what two readers could understand differently, and drops the headers that a client named as those of its connection.
fn check(request: &mut Request<Incoming>) -> Result<(), ApiError> {
    let headers = request.headers_mut();
    if headers.contains_key(CONNECTION) {
        let named = |line: &HeaderValue| -> Vec<HeaderName> {
            let names = line.to_str().unwrap_or_default().split(',');
            names.filter_map(|name| name.trim().parse().ok()).collect()
        };
        let named: Vec<_> = headers.get_all(CONNECTION).iter().flat_map(named).collect();
        for name in named {
            headers.remove(name);
        }
    }
    let has_host = headers.get(HOST).is_some_and(|host| host.to_str().is_ok());
    if !has_host && request.uri().authority().is_none() {
        return Err(ApiError::bad_request("the request names no host; add the header `Host`"));
    }
    Ok(())
}

fn forget_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    if !headers.contains_key(COOKIE) {
        return;
    }
    let is_token = |pair: &str| pair.trim().split_once('=').is_some_and(|(name, _)| name == COOKIE_NAME);
    let others = |line: &HeaderValue| {
        let kept: Vec<_> = line.to_str().ok()?.split(';').filter(|pair| !is_token(pair)).map(str::trim).collect();
        HeaderValue::from_str(&kept.join("; ")).ok().filter(|line| !line.is_empty())
    };
    let kept: Vec<_> = headers.get_all(COOKIE).iter().filter_map(others).collect();
    headers.remove(COOKIE);
    for line in kept {
        headers.append(COOKIE, line);
    }
}

/// Before its first probe a broken function says how long; whatever else is busy is free again soon.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

fn not_started(error: InvokeError) -> Response<AnswerBody> {
    let retry = if let InvokeError::Broken { retry_s, .. } = &error { HeaderValue::from(*retry_s) } else { RETRY_SOON };
    let mut answer = error_answer(&error.into());
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, retry);
    }
    answer
}

fn error_answer(error: &ApiError) -> Response<AnswerBody> {
    let mut answer = Response::new(error.text().into());
    *answer.status_mut() = error.status();
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    if error.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ledge\""));
    }
    guard::marked(answer)
}

/// The same body as of an invocation that failed. The gateway stands between the client and what failed: 502, or 504 for its time.
fn ended(function: &Function, failure: &Failure) -> Response<AnswerBody> {
    let name = &function.name;
    let request_id = uuid::Uuid::new_v4().to_string();
    let Failure { limit, message } = failure;
    let body = json!({"Function": name.to_string(), "Limit": limit, "Message": message, "RequestId": request_id, "StackTrace": []});
    let mut answer = Response::new(spaced_json::to_string(&body).into());
    *answer.status_mut() = if *limit == Some("deadline_ms") { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ERROR_TYPE, HeaderValue::from_static("Unhandled"));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}

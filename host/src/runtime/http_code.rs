//! An HTTP request in a guest: `wasi:http/incoming-handler`, which answers before it returns or not at all.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::Response;
use parking_lot::Mutex;
use wasmtime::component::Resource;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostOutgoingBody, HyperOutgoingBody};
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};

use super::function_code::{BoundCode, Ended, FunctionCode};
use super::meter::Meter;
use super::state::FunctionState;
use crate::function::http::{Answering, Exchange, GuestBody};
use crate::function::{Call, Failure, Function};

impl BoundCode {
    pub(super) async fn answer(
        &self,
        code: &FunctionCode,
        function: &Function,
        call: &Call,
        exchange: Exchange,
        meter: Arc<Meter>,
    ) -> Result<(), Ended> {
        let no_handler = || Failure { limit: None, message: "has no handler of HTTP requests".to_owned() };
        let http = code.http.as_ref().ok_or_else(|| Ended::Failed(no_handler()))?;
        let mut live = self.live((code, http, &self.kept_http), function, call, meter).await?;
        let given = Arc::<Mutex<Given>>::default();
        let handled = match take(live.store.data_mut(), exchange, given.clone()) {
            Ok((request, answer)) => live.instance.wasi_http_incoming_handler().call_handle(&mut live.store, request, answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = handled {
            return Err(Ended::by(&error, live.store.data(), &function.limits));
        }
        self.tell_refused(live.store.data(), &function.limits);
        if let Some(message) = given.lock().failure() {
            return Err(Ended::Failed(Failure { limit: None, message }));
        }
        if function.reuse > 0 && !holds_on(live.store.data_mut()) {
            self.kept_http.put(live);
        }
        Ok(())
    }
}

/// The guest's two arguments.
type Arguments = (Resource<HostIncomingRequest>, Resource<HostResponseOutparam>);

fn take(state: &mut FunctionState, Exchange { request, is_tls, answer }: Exchange, told: Arc<Mutex<Given>>) -> wasmtime::Result<Arguments> {
    let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
    let mut http = state.http();
    let request = http.new_incoming_request(scheme, request)?;
    let answer = http.new_response_outparam_from_callback(move |given| {
        *told.lock() = Given::of(&given);
        pass(given, answer);
    })?;
    Ok((request, answer))
}

/// What a guest gave for an answer.
#[derive(Default)]
enum Given {
    #[default]
    Nothing,
    Error(String),
    Response,
}

impl Given {
    fn of(given: &Result<Response<HyperOutgoingBody>, ErrorCode>) -> Self {
        given.as_ref().map_or_else(|code| Self::Error(code.to_string()), |_| Self::Response)
    }

    /// Why that is none.
    fn failure(&self) -> Option<String> {
        match self {
            Self::Nothing => Some("ended without an answer".to_owned()),
            Self::Error(error) => Some(format!("answered with an error: {error}")),
            Self::Response => None,
        }
    }
}

/// That nobody waits any more is no fault of the guest.
fn pass(given: Result<Response<HyperOutgoingBody>, ErrorCode>, answer: Answering) {
    let body = |body: HyperOutgoingBody| -> GuestBody { body.map_err(Into::into).boxed_unsync() };
    let _ = answer.send(given.map(|response| response.map(body)).map_err(|code| code.to_string()));
}

/// Whether the guest kept a body: then its client would wait for the end of it, and the next call would find it.
fn holds_on(state: &mut FunctionState) -> bool {
    state
        .table
        .iter_mut()
        .any(|entry| entry.is::<HostOutgoingBody>() || entry.is::<HostIncomingBody>() || entry.is::<HostIncomingRequest>())
}

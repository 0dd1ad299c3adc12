//! An HTTP request in a guest: `wasi:http/incoming-handler`, which answers before it returns or not at all.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::Response;
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
        let handled = match take(live.store.data_mut(), exchange) {
            Ok((request, answer)) => live.instance.wasi_http_incoming_handler().call_handle(&mut live.store, request, answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = handled {
            return Err(Ended::by(&error, live.store.data(), &function.limits));
        }
        if function.reuse > 0 && !holds_on(live.store.data_mut()) {
            self.kept_http.put(live);
        }
        Ok(())
    }
}

/// The guest's two arguments.
type Arguments = (Resource<HostIncomingRequest>, Resource<HostResponseOutparam>);

fn take(state: &mut FunctionState, Exchange { request, is_tls, answer }: Exchange) -> wasmtime::Result<Arguments> {
    let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
    let mut http = state.http();
    let request = http.new_incoming_request(scheme, request)?;
    let answer = http.new_response_outparam_from_callback(move |given| pass(given, answer))?;
    Ok((request, answer))
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

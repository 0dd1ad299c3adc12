//! The least that a `wasi:http` component can be, made without Ledge's SDK. It runs under any host of `wasi:http` 0.2.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_: IncomingRequest, answer: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("it was not taken yet");
        ResponseOutparam::set(answer, Ok(response));
        let stream = body.write().expect("it was not taken yet");
        stream.blocking_write_and_flush(b"hello\n").expect("somebody reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("nothing was promised");
    }
}

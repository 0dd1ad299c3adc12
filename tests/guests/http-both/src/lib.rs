//! A function in both ways: it can be invoked, and it answers HTTP requests.

use ledge_sdk::Error;
use ledge_sdk::handler::Context;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

ledge_sdk::function!(handle);

fn handle(_: Vec<u8>, _: Context) -> Result<Vec<u8>, Error> {
    Ok(b"invoked".to_vec())
}

struct Both;

wasip2::http::proxy::export!(Both);

impl Guest for Both {
    fn handle(_: IncomingRequest, answer: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("it was not taken yet");
        ResponseOutparam::set(answer, Ok(response));
        let stream = body.write().expect("it was not taken yet");
        stream.blocking_write_and_flush(b"requested").expect("somebody reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("nothing was promised");
    }
}

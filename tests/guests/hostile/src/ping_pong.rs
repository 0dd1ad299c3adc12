//! Calls its counterpart, which calls it again: `ping` calls `pong`, and `pong` calls `ping`.

use ledge_sdk::fc::{self, Request};
use ledge_sdk::handler::Context;
use ledge_sdk::{Error, Fault};

/// With the argument `stubborn` it tries again whatever it is answered, so that each level of the calls does.
pub fn run(context: &Context, argument: &str) -> Result<Vec<u8>, Error> {
    let other = if context.function == "ping" { "pong" } else { "ping" };
    let request = Request::new(&context.service, other).payload(format!("ping-pong {argument}"));
    loop {
        match fc::invoke(&request) {
            Ok(outcome) if argument != "stubborn" => return outcome.into_result(),
            Err(fault) if argument != "stubborn" => return Ok(text(&fault)),
            _ => {}
        }
    }
}

fn text(fault: &Fault) -> Vec<u8> {
    fault.to_string().into()
}

//! The function `@SERVICE@/@NAME@`: answers an event with a greeting.

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

/// Handles one event. Each call has a fresh instance, unless the manifest says otherwise: what shall outlive it belongs into `ledge_sdk::kv`.
fn handle(event: Vec<u8>, context: Context) -> Result<String, Error> {
    // An event is bytes. An error that is returned reaches the caller as a function error.
    let event = String::from_utf8(event)?;

    // What is printed comes out in the gateway's log.
    println!("{}: {event}", context.request_id);

    let name = context.function;
    Ok(format!("hello from {name}: {event}"))
}

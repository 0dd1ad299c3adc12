//! Says hello: prints what it was called with and returns a message (manual 2.2.6).
//!
//! What a function prints comes out in the gateway's log.

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, context: Context) -> Result<&'static str, Error> {
    println!("event: {}", String::from_utf8_lossy(&event));
    println!("invoker context: {}", context.invoker_context);
    Ok("Message from helloworld")
}

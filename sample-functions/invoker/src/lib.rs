//! Calls another function, waits for it and returns what it returned (manual 2.2.6).
//!
//! Needs the grant `invoke = ["EdgeFC/helloworld"]`.

use ledge_sdk::Error;
use ledge_sdk::fc::{self, Request};
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

fn handle(_event: Vec<u8>, _context: Context) -> Result<Vec<u8>, Error> {
    let request = Request::new("EdgeFC", "helloworld")
        .invoker_context(r#"{"custom":{"data":"Custom context from Invoker"}}"#)
        .payload("String message from Invoker.");
    fc::invoke(&request)?.into_result()
}

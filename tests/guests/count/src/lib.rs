//! A function that says how often its instance was called. The event `trap` ends it, `spin` keeps it busy, `sleep` has it
//! wait, `error` fails.

use std::sync::atomic::{AtomicU32, Ordering};

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

static CALLS: AtomicU32 = AtomicU32::new(0);

fn handle(event: Vec<u8>, _context: Context) -> Result<String, Error> {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    match event.as_slice() {
        b"trap" => std::process::abort(),
        b"spin" => loop {
            std::hint::black_box(());
        },
        b"sleep" => {
            std::thread::sleep(std::time::Duration::from_secs(3_600));
            Ok(String::new())
        }
        b"error" => Err("as asked".into()),
        _ => Ok(calls.to_string()),
    }
}

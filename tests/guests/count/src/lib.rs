//! A function that says how often its instance was called.

use std::sync::atomic::{AtomicU32, Ordering};

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

static CALLS: AtomicU32 = AtomicU32::new(0);

fn handle(_event: Vec<u8>, _context: Context) -> Result<String, Error> {
    Ok((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string())
}

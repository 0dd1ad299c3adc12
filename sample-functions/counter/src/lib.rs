//! Counts: adds one to the key that the event names, and returns the new value as text. What it counts to survives restarts.

use ledge_sdk::handler::Context;
use ledge_sdk::{Error, kv};

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _: Context) -> Result<Vec<u8>, Error> {
    let key = String::from_utf8(event)?;
    Ok(kv::update(&key, |value| (number(value) + 1).to_string().into())?)
}

/// Nothing, or what is no number, is 0.
fn number(value: Option<Vec<u8>>) -> u64 {
    value.and_then(|value| String::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

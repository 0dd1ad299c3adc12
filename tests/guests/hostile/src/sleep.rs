//! Sleeps for an hour in one host call.

use std::time::Duration;

use ledge_sdk::Error;

pub fn run() -> Result<Vec<u8>, Error> {
    std::thread::sleep(Duration::from_secs(3_600));
    Ok(b"slept".into())
}

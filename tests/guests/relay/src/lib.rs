//! A function that shows that it was called: it publishes its event to `/relay/FUNCTION`. An event that begins with
//! `slow` takes it 150 ms.

use ledge_sdk::Error;
use ledge_sdk::handler::Context;
use ledge_sdk::iot_data;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, context: Context) -> Result<&'static str, Error> {
    if event.starts_with(b"slow") {
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    iot_data::publish(&format!("/relay/{}", context.function), &event)?;
    Ok("relayed")
}

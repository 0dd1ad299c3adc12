//! A driver that attacks its gateway: the member `attack` of its configuration says how, and each way is a file of its own.

mod handles;
mod memory_bomb;
mod report_flood;
mod spin;

use ledge_sdk::device::Driver;
use ledge_sdk::serde_json::Value as Json;
use ledge_sdk::thing_access::{self, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::driver!(HostileDriver);

#[derive(Default)]
struct HostileDriver;

impl Driver for HostileDriver {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        let device = config.devices.first().ok_or("a thing is needed to attack with")?;
        let thing = Thing::register(device).await?;
        match config.setting("attack").and_then(Json::as_str).unwrap_or_default() {
            "spin" => spin::run(),
            "report-flood" => report_flood::run(&thing).await,
            "handles" => handles::run(device).await,
            "memory-bomb" => memory_bomb::run(),
            other => Err(format!("`{other}` is no attack").into()),
        }
    }

    async fn get_properties(&self, _: &ThingId, _: Vec<String>) -> Result<Properties, Fault> {
        Ok([("Number", 1)].into())
    }
}

//! The driver `@DRIVER@`: brings the devices of ledge.toml online and reports their temperature.

use std::time::Duration;

use ledge_sdk::clock;
use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::driver!(Thermometer);

#[derive(Default)]
struct Thermometer;

const REPORT_PERIOD: Duration = Duration::from_secs(2);
const TEMPERATURE: &str = "Temperature";

impl Driver for Thermometer {
    /// The driver's life. When it ends, the gateway starts it again after a while.
    async fn run(&self) -> Result<(), Error> {
        let mut things = Vec::new();
        for device in thing_access::driver_config().await?.devices {
            things.push(Thing::register(&device).await?);
        }
        loop {
            for thing in &things {
                let celsius = read_temperature(&thing.id());
                thing.report_properties([(TEMPERATURE, celsius)]).await?;
            }
            // Wait with `.await` only: a blocking call holds up the calls below.
            clock::sleep(REPORT_PERIOD).await;
        }
    }

    /// Somebody asks for values now; this call comes while `run` waits.
    async fn get_properties(
        &self,
        thing: &ThingId,
        _identifiers: Vec<String>,
    ) -> Result<Properties, Fault> {
        Ok([(TEMPERATURE, read_temperature(thing))].into())
    }
}

/// Put your protocol here. This one makes its values up, in degrees Celsius.
fn read_temperature(_thing: &ThingId) -> f32 {
    20.0 + (clock::now().as_secs() % 20) as f32 / 10.0
}

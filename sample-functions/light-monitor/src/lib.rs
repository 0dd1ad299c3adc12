//! Switches the lamp by what the light sensor reports: off when it is bright, on when it is dark.
//!
//! A route starts it with each report of the sensor. Needs the grant `things.write` for the lamp's `LightSwitch`.

use ledge_sdk::Error;
use ledge_sdk::handler::{Context, RoutedMessage};
use ledge_sdk::iot_data;

ledge_sdk::function!(handle);

/// Brighter than this (lux), the lamp goes off.
const BRIGHT_LX: f32 = 500.0;
/// At most this (lux), the lamp goes on. In between it stays as it is, so that it does not flicker.
const DARK_LX: f32 = 100.0;

fn handle(event: Vec<u8>, _context: Context) -> Result<String, Error> {
    let illuminance: f32 = RoutedMessage::parse(&event)?.property("MeasuredIlluminance")?;
    let on = match illuminance {
        bright if bright > BRIGHT_LX => false,
        dark if dark <= DARK_LX => true,
        _ => return Ok(format!("{illuminance} lx: nothing to do")),
    };
    iot_data::set_thing_properties("a1Light", "lamp-1", [("LightSwitch", on)])?;
    Ok(format!("{illuminance} lx: set LightSwitch to {}", u8::from(on)))
}

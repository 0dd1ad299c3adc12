//! Everything that a function can do with things: set, get, call a service, find by tag (manual 2.2.2 to 2.2.5).
//!
//! Needs the grants `things.read`, `things.write` and `things.call` for the lamp. The answer is JSON.

use ledge_sdk::Error;
use ledge_sdk::handler::Context;
use ledge_sdk::iot_data::{call_thing_service, get_thing_properties, get_things_with_tags, set_thing_properties};
use ledge_sdk::serde_json::json;

ledge_sdk::function!(handle);

const PRODUCT: &str = "a1Light";
const LAMP: &str = "lamp-1";

fn handle(_event: Vec<u8>, _context: Context) -> Result<String, Error> {
    set_thing_properties(PRODUCT, LAMP, [("LightSwitch", "1")])?;
    let lamp = get_thing_properties(PRODUCT, LAMP, &["LightSwitch"])?;
    println!("the light is {}", if lamp.get("LightSwitch")? { "on" } else { "off" });

    let turned = call_thing_service(PRODUCT, LAMP, "turn", [("LightSwitch", 0)])?;

    let things = get_things_with_tags(&[("location", "master bedroom")])?;
    let names: Vec<String> = things.iter().map(|thing| thing.id.to_string()).collect();

    Ok(json!({ "get": lamp.to_json(), "turn": turned.to_json(), "master bedroom": names }).to_string())
}

//! Everything that a function can do with things: set, get, call a service, find by tag (manual 2.2.2 to 2.2.5).
//!
//! Needs the grants `things.read`, `things.write` and `things.call` for the lamp. The answer is JSON. `light.rs` is what it uses of the
//! product, in Rust types:
//! `ledge bindgen tsl/a1Light.json --lang rust --for function --only LightSwitch,turn --out thing-operations/src/light.rs`.

mod light;

use ledge_sdk::Error;
use ledge_sdk::handler::Context;
use ledge_sdk::iot_data::get_things_with_tags;
use ledge_sdk::serde_json::json;

ledge_sdk::function!(handle);

fn handle(_event: Vec<u8>, _context: Context) -> Result<String, Error> {
    let lamp = light::Thing::new("lamp-1");
    lamp.set_light_switch(true)?;
    let on = lamp.get_light_switch()?;
    println!("the light is {}", if on { "on" } else { "off" });

    let turned = lamp.turn(false)?;

    let things = get_things_with_tags(&[("location", "master bedroom")])?;
    let names: Vec<String> = things.iter().map(|thing| thing.id.to_string()).collect();

    // As the manual prints them, bools are numbers.
    let get = json!({ "LightSwitch": u8::from(on) });
    let turn = json!({ "LightSwitch": u8::from(turned.light_switch) });
    Ok(json!({ "get": get, "turn": turn, "master bedroom": names }).to_string())
}

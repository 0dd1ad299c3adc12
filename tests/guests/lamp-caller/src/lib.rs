//! A function that does everything that there is to do with a lamp, in the types that `ledge bindgen` made of its product. Where its event
//! is a routed message it says what that is. Of a second product it has two members: `echo NAME` sets and reads the one.

mod echo;
mod lamp;

use lamp::{BlinkMode, Event, Mode, Property, Scene, Settings, Thing};
use ledge_sdk::Error;
use ledge_sdk::handler::{Context, RoutedMessage};
use ledge_sdk::value::Date;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<String, Error> {
    if let Ok(message) = RoutedMessage::parse(&event) {
        let (lamp, event) = Event::of(&message)?;
        return Ok(match event {
            Event::Report(values) => format!("{} reports {:?}", lamp.name(), values.mode),
            Event::Overheated(outputs) => {
                format!("{} is {} degrees hot since {}", lamp.name(), outputs.temperature, outputs.since.unix_ms())
            }
        });
    }
    let event = String::from_utf8(event)?;
    if let Some(name) = event.strip_prefix("echo ") {
        let echo = echo::Thing::new(name);
        echo.set_number(7)?;
        return Ok(echo.get_number()?.to_string());
    }
    let lamp = Thing::new(event);
    let scene = vec![Scene { on: true, level: 3 }, Scene { on: false, level: 0 }];
    let settings = Settings::default().brightness(55).mode(Mode::Off).label("hall").levels(vec![0.1, 0.25]).scene(scene).pin("1234");
    lamp.set(settings)?;
    lamp.set_light_switch(true)?;
    lamp.set_since(Date::from_unix_ms(1_565_136_000_000))?;
    let refused = lamp.set_pin("0000").unwrap_err();
    let all = lamp.get(&[])?;
    let some = lamp.get(&[Property::Mode, Property::LightSwitch])?;
    let blinked = lamp.blink(3, Some(BlinkMode::Fast))?;
    Ok(format!("{all:?}\n{some:?}\n{:?} {}\n{blinked:?}\n{refused}", lamp.get_scene()?, lamp.get_illuminance()?))
}

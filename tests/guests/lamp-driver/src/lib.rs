//! A driver of lamps, of a product with every type that there is, in the types that `ledge bindgen` made of it: it keeps what is set.
//!
//! The service `blink` reports the event `overheated`, as hot as it was to blink times.

mod lamp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lamp::{BlinkMode, BlinkOutput, Properties, Property, Registered, Settings};
use ledge_sdk::value::Date;
use ledge_sdk::{Error, Fault, ThingId, thing_access};

ledge_sdk::driver!(lamp::Component<Lamps>);

#[derive(Default)]
struct Lamps {
    lamps: RefCell<BTreeMap<ThingId, Rc<Lamp>>>,
}

struct Lamp {
    thing: Registered,
    state: RefCell<Properties>,
}

impl lamp::Driver for Lamps {
    async fn run(&self) -> Result<(), Error> {
        for device in thing_access::driver_config().await?.devices {
            let state = Properties::default().light_switch(false).illuminance(0.5).energy(1.25).since(Date::from_unix_s(1_565_136_000));
            let lamp = Rc::new(Lamp { thing: Registered::register(&device).await?, state: RefCell::new(state) });
            self.lamps.borrow_mut().insert(lamp.thing.id(), lamp);
        }
        std::future::pending().await
    }

    async fn get(&self, thing: &ThingId, wanted: &[Property]) -> Result<Properties, Fault> {
        println!("asked for {wanted:?}");
        Ok(self.lamp(thing)?.state.borrow().clone())
    }

    async fn set(&self, thing: &ThingId, settings: Settings) -> Result<(), Fault> {
        let lamp = self.lamp(thing)?;
        let Settings { light_switch, brightness, mode, label, since, levels, scene, pin } = settings;
        if pin.is_some_and(|pin| pin != "1234") {
            return Err(Fault::new(Fault::INVALID_PARAM, "another pin is wanted"));
        }
        let before = lamp.state.borrow().clone();
        let after = Properties {
            light_switch: light_switch.or(before.light_switch),
            brightness: brightness.or(before.brightness),
            mode: mode.or(before.mode),
            label: label.or(before.label),
            since: since.or(before.since),
            levels: levels.or(before.levels),
            scene: scene.or(before.scene),
            ..before
        };
        lamp.state.replace(after.clone());
        lamp.thing.report(after).await
    }

    async fn blink(&self, thing: &ThingId, times: i32, mode: Option<BlinkMode>) -> Result<BlinkOutput, Fault> {
        let lamp = self.lamp(thing)?;
        let since = Date::from_unix_ms(if mode == Some(BlinkMode::Fast) { 1_565_136_000_001 } else { 1_565_136_000_000 });
        lamp.thing.overheated(times, since).await?;
        Ok(BlinkOutput { done: times })
    }
}

impl Lamps {
    fn lamp(&self, id: &ThingId) -> Result<Rc<Lamp>, Fault> {
        let lamp = self.lamps.borrow().get(id).cloned();
        lamp.ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("the lamp `{id}` is not registered yet")))
    }
}

//! A lamp without hardware: it remembers whether it is on, and reports when that changes.
//!
//! Serves every device of the product `a1Light` that the project gives it. Copy it, put your protocol into `switch`, and write `product.rs`
//! anew from your product: `ledge bindgen tsl/a1Light.json --lang rust --for driver --out src/product.rs`.

mod product;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ledge_sdk::thing_access::{self, DriverConfig};
use ledge_sdk::{Error, Fault, ThingId};
use product::{Properties, Property, Registered, Settings, TurnOutput};

ledge_sdk::driver!(product::Component<Light>);

#[derive(Default)]
struct Light {
    lamps: RefCell<BTreeMap<ThingId, Rc<Lamp>>>,
}

struct Lamp {
    thing: Registered,
    on: Cell<bool>,
}

impl product::Driver for Light {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        has_no_settings(&config)?;
        for device in config.devices {
            let lamp = Rc::new(Lamp { thing: Registered::register(&device).await?, on: Cell::new(false) });
            self.lamps.borrow_mut().insert(lamp.thing.id(), lamp.clone());
            lamp.thing.report(lamp.state()).await?;
        }
        // From here on there are only calls to answer.
        std::future::pending().await
    }

    async fn get(&self, thing: &ThingId, _wanted: &[Property]) -> Result<Properties, Fault> {
        Ok(self.lamp(thing)?.state())
    }

    async fn set(&self, thing: &ThingId, settings: Settings) -> Result<(), Fault> {
        match settings.light_switch {
            Some(on) => self.lamp(thing)?.switch(on).await,
            None => Ok(()),
        }
    }

    async fn turn(&self, thing: &ThingId, light_switch: bool) -> Result<TurnOutput, Fault> {
        self.lamp(thing)?.switch(light_switch).await?;
        Ok(TurnOutput { light_switch })
    }
}

impl Light {
    fn lamp(&self, id: &ThingId) -> Result<Rc<Lamp>, Fault> {
        let lamp = self.lamps.borrow().get(id).cloned();
        lamp.ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("the lamp `{id}` is not registered yet; ask again")))
    }
}

impl Lamp {
    async fn switch(&self, on: bool) -> Result<(), Fault> {
        if self.on.replace(on) == on {
            return Ok(());
        }
        self.thing.report(self.state()).await?;
        self.thing.switched(on).await
    }

    fn state(&self) -> Properties {
        Properties::default().light_switch(self.on.get())
    }
}

/// Names what `config` in `ledge.toml` gives: whoever wrote it expects something of it.
fn has_no_settings(config: &DriverConfig) -> Result<(), String> {
    let given: Vec<String> = config.names().chain(config.files()).map(|name| format!("`{}`", name.escape_debug())).collect();
    if given.is_empty() {
        Ok(())
    } else {
        Err(format!("the driver has no settings, and is given {}; leave out its `config`", given.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_refused_by_their_names() {
        let read = |config: &str| has_no_settings(&format!(r#"{{"config":{config}}}"#).parse().unwrap());
        for none in ["{}", r#"{"json": {}}"#, r#"{"kv": []}"#] {
            assert_eq!(read(none), Ok(()), "{none}");
        }
        for (some, wanted) in [
            (r#"{"json": {"period_ms": 1, "on": true}}"#, "is given `on`, `period_ms`"),
            (r#"{"kv": [{"key": "on", "value": "1"}]}"#, "is given `on`"),
            (r#"{"fileList": [{"path": "a.csv"}]}"#, "is given `a.csv`"),
        ] {
            let said = read(some).unwrap_err();
            assert!(said.contains(wanted), "{some}: {said}");
        }
    }
}

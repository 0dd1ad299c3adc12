//! A lamp without hardware: it remembers whether it is on, and reports when that changes.
//!
//! Serves every device that the project gives it. Copy it and put your protocol into `switch`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::driver!(Light);

#[derive(Default)]
struct Light {
    lamps: RefCell<BTreeMap<ThingId, Rc<Lamp>>>,
}

struct Lamp {
    thing: Thing,
    on: Cell<bool>,
}

const LIGHT_SWITCH: &str = "LightSwitch";

impl Driver for Light {
    async fn run(&self) -> Result<(), Error> {
        for device in thing_access::driver_config().await?.devices {
            let lamp = Rc::new(Lamp { thing: Thing::register(&device).await?, on: Cell::new(false) });
            self.lamps.borrow_mut().insert(lamp.thing.id(), lamp.clone());
            lamp.thing.report_properties([(LIGHT_SWITCH, lamp.on.get())]).await?;
        }
        // From here on there are only calls to answer.
        std::future::pending().await
    }

    async fn get_properties(&self, thing: &ThingId, _identifiers: Vec<String>) -> Result<Properties, Fault> {
        Ok([(LIGHT_SWITCH, self.lamp(thing)?.on.get())].into())
    }

    async fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        let on = properties.get(LIGHT_SWITCH).map_err(|error| Fault::new(Fault::INVALID_TYPE, error.to_string()))?;
        self.lamp(thing)?.switch(on).await
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        if service != "turn" {
            return Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("a lamp has only the service `turn`, not `{service}`")));
        }
        let on = arguments.get(LIGHT_SWITCH).map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))?;
        self.lamp(thing)?.switch(on).await?;
        Ok([(LIGHT_SWITCH, on)].into())
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
        self.thing.report_properties([(LIGHT_SWITCH, on)]).await?;
        self.thing.report_event("switched", [(LIGHT_SWITCH, on)]).await
    }
}

//! A driver written as a plain loop, on WASI 0.2: it reports, sleeps for as long as its setting `period_ms` says, and answers in its sleep.
//!
//! Its things keep what is set. Services, by the names that the product of the tests has: `echo` returns its arguments; `report` reports
//! them; `fault` answers 109006; `hang` sleeps for half a second within its answer; `block` blocks for an hour in a call that answers
//! nothing; `spin` makes the loop compute for 200 ms and then look for what waits; `trap` traps; `config` answers
//! the first request once more, and says whether somebody waited for that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ledge_sdk::bindings::blocking::ledge::edge::requests;
use ledge_sdk::blocking::{self, Driver, DriverConfig, Thing};
use ledge_sdk::value::{Properties, Value};
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::blocking_driver!(PlainLoop);

#[derive(Default)]
struct PlainLoop {
    things: RefCell<BTreeMap<ThingId, Kept>>,
    period_ms: Cell<u64>,
    rounds: Cell<i32>,
    is_busy: Cell<bool>,
}

struct Kept {
    thing: Thing,
    values: RefCell<Properties>,
}

impl Driver for PlainLoop {
    fn run(&self) -> Result<(), Error> {
        let config = DriverConfig { config: blocking::driver_info()?, devices: blocking::device_info()? };
        if config != blocking::driver_config()? {
            return Err("the configuration in two parts is another one than the whole".into());
        }
        self.take(config)?;
        loop {
            for kept in self.things.borrow().values() {
                kept.thing.report_properties([("Level", self.rounds.get() as f32)])?;
            }
            self.rounds.set((self.rounds.get() + 1) % 1_000);
            if self.is_busy.take() {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(200) {}
                blocking::answer_waiting();
            }
            blocking::sleep(Duration::from_millis(self.period_ms.get()));
        }
    }

    fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let things = self.things.borrow();
        let kept = things.get(thing).ok_or_else(|| unknown(thing))?;
        let values = kept.values.borrow();
        Ok(identifiers.into_iter().filter_map(|name| values.get::<Value>(&name).ok().map(|value| (name, value))).collect())
    }

    fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        let things = self.things.borrow();
        let kept = things.get(thing).ok_or_else(|| unknown(thing))?;
        for property in &properties {
            kept.values.borrow_mut().set(&property.identifier, property.value.clone());
        }
        kept.thing.report_properties(properties)
    }

    fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        match service {
            "echo" => return Ok(arguments),
            // The first request that ever came was answered long ago.
            "config" => return Ok([("config", requests::answer(1, Ok(&[])).to_string())].into()),
            "report" => self.things.borrow().get(thing).ok_or_else(|| unknown(thing))?.thing.report_properties(arguments)?,
            "fault" => return Err(Fault::new(Fault::SERVICE_INPUT_PARAM, "refused as asked")),
            "hang" => blocking::sleep(Duration::from_millis(500)),
            "block" => std::thread::sleep(Duration::from_secs(3_600)),
            "spin" => self.is_busy.set(true),
            "trap" => std::process::abort(),
            _ => return Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("`{service}` is none of the services of plain-loop"))),
        }
        Ok(Properties::new())
    }

    fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        self.take(config)
    }
}

impl PlainLoop {
    fn take(&self, config: DriverConfig) -> Result<(), Fault> {
        self.period_ms.set(config.setting_u64("period_ms").unwrap_or(2_000));
        for device in &config.devices {
            let id = ThingId::new(&device.product_key, &device.device_name);
            if !self.things.borrow().contains_key(&id) {
                let kept = Kept { thing: Thing::register(device)?, values: RefCell::default() };
                self.things.borrow_mut().insert(id, kept);
            }
        }
        Ok(())
    }
}

fn unknown(id: &ThingId) -> Fault {
    Fault::new(Fault::DEVICE_UNREGISTER, format!("plain-loop has not registered `{id}`"))
}

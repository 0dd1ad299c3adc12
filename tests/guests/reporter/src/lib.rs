//! A driver whose things report as fast as the gateway takes it: service `flood` reports ten values so many times as the argument `reports`
//! says, and returns when the last one was taken. Service `burst` does not wait for a report before the next, and gives the number of
//! those that were refused. Service `tick` reports the event `tick`, so many times as `events` says and at most `per_s` a second, each with
//! its number and when it was reported.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledge_sdk::clock;
use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, Thing};
use ledge_sdk::value::{Properties, Value};
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::driver!(Reporter);

#[derive(Default)]
struct Reporter {
    things: RefCell<BTreeMap<ThingId, Rc<Thing>>>,
}

impl Driver for Reporter {
    async fn run(&self) -> Result<(), Error> {
        for device in thing_access::driver_config().await?.devices {
            let thing = Thing::register(&device).await?;
            self.things.borrow_mut().insert(thing.id(), Rc::new(thing));
        }
        std::future::pending().await
    }

    async fn get_properties(&self, _: &ThingId, _: Vec<String>) -> Result<Properties, Fault> {
        Ok(ten_values(0))
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        let thing = self.things.borrow().get(thing).cloned().ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, "not registered yet"))?;
        if service == "tick" {
            return tick(&thing, &arguments).await;
        }
        let reports: i32 = arguments.get("reports").map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))?;
        let mut refused = 0;
        for number in 0..reports {
            match thing.report_properties(ten_values(number)).await {
                Err(fault) if service == "burst" && fault.code == Fault::TOO_MANY => refused += 1,
                reported => reported?,
            }
        }
        Ok([("refused", refused)].into())
    }
}

/// How often it looks whether the next event is due.
const TICK: Duration = Duration::from_millis(2);

async fn tick(thing: &Thing, arguments: &Properties) -> Result<Properties, Fault> {
    let number = |name: &str| arguments.get::<i32>(name).map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()));
    let (events, per_s) = (number("events")?, number("per_s")?);
    let began = clock::now();
    for at in 0..events {
        let due = Duration::from_secs_f64(f64::from(at) / f64::from(per_s.max(1)));
        while clock::now() - began < due {
            clock::sleep(TICK).await;
        }
        let sent_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as f64;
        thing.report_event("tick", [("number", Value::from(at)), ("sent_us", Value::from(sent_us))]).await?;
    }
    Ok([("refused", 0)].into())
}

fn ten_values(number: i32) -> Properties {
    [
        ("temperature", Value::from(20.0 + (number % 10) as f32)),
        ("humidity", Value::from(0.5_f64)),
        ("pressure", Value::from(1_013.25_f64)),
        ("speed", Value::from(number % 1_000)),
        ("count", Value::from(number)),
        ("state", Value::from(number % 3)),
        ("is_open", Value::from(number % 2 == 0)),
        ("current", Value::from(1.5_f32)),
        ("voltage", Value::from(230.0_f32)),
        ("label", Value::from("pump-1")),
    ]
    .into()
}

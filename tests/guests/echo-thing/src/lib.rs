//! A driver for any product: its things keep what is set, and their services do what a test asks for.
//!
//! Services: `echo` returns its arguments; `power_on` answers as the manual prints it; `lie` makes a number a text from now on, and `lies` answers so; `steal` tries to register the thing of
//! the name `text`; `fault` answers 109006; `hang` never answers; `block` waits for an hour in a call that holds the whole instance; `spin` loops for ever; `trap`
//! traps; `offline` and `online` move this thing, or the one that the argument `device` names, since a thing that is
//! offline is not asked; `report` reports its arguments as properties; `event` reports the event that the argument
//! `event` names, with the other arguments as outputs; `config` and `tsl` return those texts under their own names; `env`
//! and `read` return the variable and the file of the name `text`; `big` hands the host so many bytes as the argument
//! `bytes` says, and `log` writes so many.

mod defaults;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::{env, fs};

use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, DeviceInfo, DriverConfig, Thing};
use ledge_sdk::value::{Properties, Value};
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::driver!(EchoThing);

#[derive(Default)]
struct EchoThing {
    things: RefCell<BTreeMap<ThingId, Rc<Echo>>>,
}

struct Echo {
    thing: Thing,
    values: RefCell<Properties>,
}

impl Driver for EchoThing {
    async fn run(&self) -> Result<(), Error> {
        self.register(thing_access::driver_config().await?.devices).await?;
        std::future::pending().await
    }

    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let echo = self.thing(thing)?;
        let values = echo.values.borrow();
        let value = |identifier: String| values.get::<Value>(&identifier).map(|value| (identifier, value));
        identifiers
            .into_iter()
            .map(|identifier| value(identifier).map_err(|error| Fault::new(Fault::PROPERTY_NOT_EXIST, error.to_string())))
            .collect()
    }

    async fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        let echo = self.thing(thing)?;
        for property in &properties {
            echo.values.borrow_mut().set(&property.identifier, property.value.clone());
        }
        echo.thing.report_properties(properties).await
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        let other = |arguments: &Properties| match arguments.get::<String>("device") {
            Ok(device_name) => self.thing(&ThingId::new(&thing.product_key, device_name)),
            Err(_) => self.thing(thing),
        };
        match service {
            "echo" => return Ok(arguments),
            "power_on" => return Ok([("rtn", Value::from("asdfasdf")), ("uid", Value::from("111")), ("code", Value::from(1))].into()),
            "lie" => self.thing(thing)?.values.borrow_mut().set("Number", Value::Text("many".into())),
            "lies" => return Ok([("number", Value::Text("many".into()))].into()),
            "steal" => return Ok([("text", steal(&thing.product_key, &text(&arguments)?).await)].into()),
            "fault" => return Err(Fault::new(Fault::SERVICE_INPUT_PARAM, "refused as asked")),
            "hang" => std::future::pending().await,
            "block" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
            "spin" => loop {
                std::hint::black_box(());
            },
            "trap" => std::process::abort(),
            "offline" => other(&arguments)?.thing.offline().await?,
            "online" => other(&arguments)?.thing.online().await?,
            "report" => self.thing(thing)?.thing.report_properties(arguments).await?,
            "event" => self.thing(thing)?.event(arguments).await?,
            "config" => return Ok([("config", config_text().await)].into()),
            "env" => return Ok([("text", env::var(text(&arguments)?).unwrap_or_else(|error| error.to_string()))].into()),
            "read" => return Ok([("text", fs::read_to_string(text(&arguments)?).unwrap_or_else(|error| error.to_string()))].into()),
            "big" => drop(thing_access::get_tsl(&"x".repeat(bytes(&arguments)?)).await?),
            "log" => (0..bytes(&arguments)? / LINE.len()).for_each(|_| print!("{LINE}")),
            "tsl" => return Ok([("tsl", thing_access::get_tsl(&thing.product_key).await?)].into()),
            _ => return Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("`{service}` is none of the services of echo-thing"))),
        }
        Ok(Properties::new())
    }

    async fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        println!("config changed: {}", config.config);
        if config.setting("stubborn").is_some() {
            return Err(Fault::new(Fault::UNKNOWN, "echo-thing is stubborn, as it was told"));
        }
        let is_there = |id: &ThingId| config.devices.iter().any(|it| it.product_key == id.product_key && it.device_name == id.device_name);
        self.things.borrow_mut().retain(|id, _| is_there(id));
        self.register(config.devices).await
    }
}

impl EchoThing {
    /// By their local names, where they have some. What is registered already stays.
    async fn register(&self, devices: Vec<DeviceInfo>) -> Result<(), Fault> {
        for DeviceInfo { product_key, device_name, local_name, .. } in devices {
            if self.things.borrow().contains_key(&ThingId::new(&product_key, &device_name)) {
                continue;
            }
            let values = defaults::of_tsl(&thing_access::get_tsl(&product_key).await?)
                .map_err(|error| Fault::new(Fault::INVALID_JSON, error.to_string()))?;
            let thing = match &local_name {
                Some(local_name) => Thing::register_by_local_name(&product_key, local_name).await?,
                None => Thing::register_by_device_name(&product_key, &device_name).await?,
            };
            self.things.borrow_mut().insert(thing.id(), Rc::new(Echo { thing, values: RefCell::new(values) }));
        }
        Ok(())
    }

    fn thing(&self, id: &ThingId) -> Result<Rc<Echo>, Fault> {
        let echo = self.things.borrow().get(id).cloned();
        echo.ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("echo-thing has not registered `{id}`")))
    }
}

impl Echo {
    async fn event(&self, arguments: Properties) -> Result<(), Fault> {
        let event: String = arguments.get("event").map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))?;
        let outputs: Properties = arguments.into_iter().filter(|argument| argument.identifier != "event").collect();
        self.thing.report_event(&event, outputs).await
    }
}

/// Tries to be the driver of a thing that is another one's, and says what came of it.
async fn steal(product_key: &str, device_name: &str) -> String {
    let said = |tried: Result<Thing, Fault>| tried.map_or_else(|fault| fault.code.to_string(), |_| "stolen".to_owned());
    let registered = said(Thing::register_by_device_name(product_key, device_name).await);
    format!("{registered} {}", said(Thing::get_device_handle(product_key, device_name).await))
}

const LINE: &str = "a line of no importance to anybody\n";

fn text(arguments: &Properties) -> Result<String, Fault> {
    arguments.get("text").map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))
}

fn bytes(arguments: &Properties) -> Result<usize, Fault> {
    let bytes: i32 = arguments.get("bytes").map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}

/// The text itself, which the SDK hides: a test may look at each byte of it.
async fn config_text() -> String {
    ledge_sdk::bindings::driver::ledge::edge::thing_access::driver_config().await
}

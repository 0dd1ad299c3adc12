//! A driver written as a plain loop that serves one client after the other, and answers the gateway wherever it waits.
//!
//! It listens where its setting `listen` says, sends back what a client sends (`big` is answered with 16 MiB, `end` by saying no more), and counts
//! clients in the property `Number`. Services: `config` tells its address, or why it has none; `echo` does what its `text` says: `cores` tells
//! how many the gateway has, `functions` how many functions, `function NAME` counts one, anything else is returned.

use std::cell::{Cell, RefCell};

use ledge_sdk::blocking::listen::{Connection, Listener};
use ledge_sdk::blocking::{self, Driver, Thing, gateway_info};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::blocking_driver!(PlainServer);

#[derive(Default)]
struct PlainServer {
    address: RefCell<String>,
    clients: Cell<i32>,
}

impl Driver for PlainServer {
    fn run(&self) -> Result<(), Error> {
        let config = blocking::driver_config()?;
        let _thing = Thing::register(config.devices.first().ok_or("a test gives it one thing")?)?;
        let opened = Listener::open(config.setting("listen").and_then(|address| address.as_str()).unwrap_or_default());
        let listener = match opened {
            Ok(listener) => listener,
            Err(fault) => {
                *self.address.borrow_mut() = format!("{} {}", fault.code, fault.message);
                loop {
                    blocking::sleep(std::time::Duration::from_secs(1));
                }
            }
        };
        *self.address.borrow_mut() = listener.address().to_string();
        loop {
            let client = listener.accept()?;
            self.clients.set(self.clients.get() + 1);
            if let Err(fault) = serve(&client) {
                eprintln!("client {}: {} {}", client.peer(), fault.code, fault.message);
            }
        }
    }

    fn get_properties(&self, _: &ThingId, _: Vec<String>) -> Result<Properties, Fault> {
        Ok([("Number", self.clients.get())].into())
    }

    fn call_service(&self, _: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        if service == "config" {
            return Ok([("config", self.address.borrow().clone())].into());
        }
        let text: String = arguments.get("text").map_err(|error| Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string()))?;
        let answer = match text.split_once(' ') {
            Some(("function", name)) => gateway_info::function_counters_of(name)?[0].done.to_string(),
            _ if text == "cores" => gateway_info::get()?.cpu_cores.to_string(),
            _ if text == "functions" => gateway_info::function_counters()?.len().to_string(),
            _ => text,
        };
        Ok([("text", answer)].into())
    }
}

fn serve(client: &Connection) -> Result<(), Fault> {
    loop {
        let bytes = client.read(64)?;
        match &bytes[..] {
            b"" => return Ok(()),
            b"big" => {
                let part = vec![b'x'; 512 << 10];
                for _ in 0..32 {
                    client.write_all(&part)?;
                }
            }
            b"end" => client.finish()?,
            _ => client.write_all(&bytes)?,
        }
    }
}

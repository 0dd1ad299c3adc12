//! A persistent function that counts its calls, and does what a test asks of it.

use std::cell::Cell;
use std::time::Duration;

use ledge_sdk::handler::Context;
use ledge_sdk::persistent::Persistent;
use ledge_sdk::{Error, clock, fc, iot_data, kv};

ledge_sdk::persistent!(Stay);

#[derive(Default)]
struct Stay {
    calls: Cell<u32>,
    ticks: Cell<u32>,
    ends: Cell<bool>,
}

impl Persistent for Stay {
    async fn run(&self) -> Result<(), Error> {
        // Nobody listens, mostly.
        let _ = iot_data::publish("/stay/started", "");
        if std::env::var("RUN").as_deref() == Ok("fails") {
            return Err("run gives up".into());
        }
        if std::env::var("RUN").as_deref() == Ok("returns") {
            return Ok(());
        }
        while !self.ends.get() {
            clock::sleep(Duration::from_millis(1)).await;
            self.ticks.set(self.ticks.get() + 1);
        }
        Err("run was told to end".into())
    }

    fn handle(&self, event: Vec<u8>, context: Context) -> Result<Vec<u8>, Error> {
        self.calls.set(self.calls.get() + 1);
        match String::from_utf8_lossy(&event).as_ref() {
            "ticks" => Ok(self.ticks.get().to_string().into()),
            "error" => Err("as asked".into()),
            "trap" => panic!("as asked"),
            "end" => {
                self.ends.set(true);
                Ok("it will".into())
            }
            "spin" => loop {
                std::hint::black_box(());
            },
            "sleep" => {
                std::thread::sleep(Duration::from_secs(600));
                Ok(Vec::new())
            }
            text if text.starts_with("sleep ") => {
                std::thread::sleep(Duration::from_millis(text[6..].parse()?));
                Ok("slept".into())
            }
            "kv" => {
                kv::set("calls", self.calls.get().to_string())?;
                Ok(kv::get("calls")?.unwrap_or_default())
            }
            "call" => Ok(fc::invoke(&fc::Request::new("test", "count"))?.into_result()?),
            "context" => Ok(format!("{}/{} {}", context.service, context.function, context.deadline_ms > 0).into()),
            _ => Ok(self.calls.get().to_string().into()),
        }
    }
}

//! A driver of a product whose names mean something to Rust: `into`, `try_from`, `clone`, a member `Error`. It keeps what is set.
//!
//! The service `into` adds one; `try_into` reports the event `error`.

mod odd;

use std::cell::RefCell;

use ledge_sdk::{Error, Fault, ThingId, thing_access};
use odd::{IntoOutput, Properties, Property, Registered, Settings};

ledge_sdk::driver!(odd::Component<Odd>);

#[derive(Default)]
struct Odd {
    thing: RefCell<Option<Registered>>,
    state: RefCell<Properties>,
}

impl odd::Driver for Odd {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        let device = config.devices.first().ok_or("no device is declared for this driver")?;
        self.thing.replace(Some(Registered::register(device).await?));
        std::future::pending().await
    }

    async fn get(&self, _: &ThingId, _: &[Property]) -> Result<Properties, Fault> {
        Ok(Clone::clone(&*self.state.borrow()))
    }

    async fn set(&self, _: &ThingId, settings: Settings) -> Result<(), Fault> {
        let Settings { into, try_from, clone } = settings;
        let before = self.state.take();
        self.state.replace(Properties {
            into: into.or(before.into),
            try_from: try_from.or(before.try_from),
            clone: clone.or(before.clone),
        });
        Ok(())
    }

    async fn into(&self, _: &ThingId, number: i32) -> Result<IntoOutput, Fault> {
        Ok(IntoOutput { into: number + 1 })
    }

    async fn try_into(&self, thing: &ThingId) -> Result<(), Fault> {
        let registered =
            self.thing.take().ok_or_else(|| Fault::new(Fault::DEVICE_UNREGISTER, format!("`{thing}` is not registered yet")))?;
        let reported = registered.error(7).await;
        self.thing.replace(Some(registered));
        reported
    }
}

//! Drivers whose code blocks: a plain loop that reports and sleeps. While it sleeps, it answers what the gateway asks.
//!
//! ```
//! use std::time::Duration;
//!
//! use ledge_sdk::blocking::{self, Driver, Thing};
//! use ledge_sdk::value::Properties;
//! use ledge_sdk::{Error, Fault, ThingId};
//!
//! ledge_sdk::blocking_driver!(Thermometer);
//!
//! #[derive(Default)]
//! struct Thermometer;
//!
//! impl Driver for Thermometer {
//!     fn run(&self) -> Result<(), Error> {
//!         let config = blocking::driver_config()?;
//!         let thing = Thing::register(config.devices.first().ok_or("no device is declared for this driver")?)?;
//!         loop {
//!             thing.report_properties([("temperature", 41)])?;
//!             blocking::sleep(Duration::from_secs(2));
//!         }
//!     }
//!
//!     fn get_properties(&self, _thing: &ThingId, _identifiers: Vec<String>) -> Result<Properties, Fault> {
//!         Ok([("temperature", 41)].into())
//!     }
//! }
//! ```
//!
//! Only [`sleep`], [`answer_waiting`] and what waits in [`listen`] answer: a call that blocks elsewhere (`std::thread::sleep`, a socket of the standard library)
//! keeps the gateway waiting for as long, and its callers get fault 100006 after the driver's deadline. Where nothing has to block, the
//! module [`device`](crate::device) is the better choice.

pub mod gateway_info;
pub mod listen;

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::bindings::blocking::ledge::edge::requests;
use crate::bindings::blocking::ledge::edge::thing_access_blocking as wit;
use crate::bindings::blocking::wasi::io::poll::{Pollable, poll};
use crate::thing_access;
pub use crate::thing_access::{DeviceInfo, DriverConfig};
use crate::value::{Properties, Property};
use crate::{Error, Fault, ThingId};

/// A driver that blocks. One instance of the type lives as long as the component.
///
/// Calls come out of [`sleep`], [`answer_waiting`] and what waits in [`listen`], so never keep a `RefCell` borrowed across those. While one is answered no other is.
pub trait Driver: Default + 'static {
    /// The driver's life: registers its things and talks to them. When it returns, its things go offline and the driver is started
    /// again after a while.
    fn run(&self) -> Result<(), Error>;

    /// The current values of these properties. All of them exist in the TSL and are readable.
    fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault>;

    /// Sets these properties. All of them exist, are writable and have the TSL's type and range.
    /// Unless it is given: fault 109003, everything is read-only.
    fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        let _ = properties;
        Err(Fault::new(Fault::PROPERTY_READ_ONLY, format!("the driver of `{thing}` sets no properties")))
    }

    /// Calls a service and returns its output. The service exists in the TSL and the arguments have the TSL's types.
    /// Unless it is given: fault 109005, there are no services.
    fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        let _ = arguments;
        Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("the driver of `{thing}` has no service `{service}`")))
    }

    /// The configuration, or the list of devices, was changed while the driver runs. A driver that takes it over answers `Ok`; one that
    /// does not is started again with it, and so it is unless this is given.
    fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        let _ = config;
        Err(Fault::new(Fault::UNKNOWN, "the driver takes changes of its configuration up when it starts"))
    }
}

/// A registered thing. Dropping it takes the thing offline, so keep it for as long as the device is there.
/// Its functions and their faults are those of [`thing_access::Thing`](crate::thing_access::Thing).
#[derive(Debug)]
pub struct Thing(wit::Thing);

impl Thing {
    /// Registers the thing that the project declares for this driver, and brings it online.
    pub fn register_by_device_name(product_key: &str, device_name: &str) -> Result<Self, Fault> {
        wit::Thing::register_by_device_name(product_key, device_name).map(Self)
    }

    /// The same by the thing's `local_name`: a name that the driver can read off the device itself.
    pub fn register_by_local_name(product_key: &str, local_name: &str) -> Result<Self, Fault> {
        wit::Thing::register_by_local_name(product_key, local_name).map(Self)
    }

    /// Registers a device of [`driver_config`], by its device name.
    pub fn register(device: &DeviceInfo) -> Result<Self, Fault> {
        Self::register_by_device_name(&device.product_key, &device.device_name)
    }

    /// Another handle of a thing that this driver has registered, online or not.
    pub fn get_device_handle(product_key: &str, device_name: &str) -> Result<Self, Fault> {
        wit::Thing::get_device_handle(product_key, device_name).map(Self)
    }

    /// The names by which calls of the driver ask for this thing.
    pub fn id(&self) -> ThingId {
        self.0.id()
    }

    /// Brings the thing online again after [`Thing::offline`].
    pub fn online(&self) -> Result<(), Fault> {
        self.0.online()
    }

    /// Takes the thing offline: who asks for it is answered 109001, and the driver is not asked.
    pub fn offline(&self) -> Result<(), Fault> {
        self.0.offline()
    }

    /// Takes the thing offline and forgets the registration.
    pub fn unregister(self) -> Result<(), Fault> {
        self.0.unregister()
    }

    /// Reports values, as of now. Where some are refused the others are kept.
    pub fn report_properties(&self, properties: impl Into<Properties>) -> Result<(), Fault> {
        self.0.report_properties(&Vec::from(properties.into()))
    }

    /// Reports an event of the product's TSL. `()` stands for no outputs.
    pub fn report_event(&self, event: &str, outputs: impl Into<Properties>) -> Result<(), Fault> {
        self.0.report_event(event, &Vec::from(outputs.into()))
    }
}

/// The product's TSL, as JSON text. Fault 100009: no such product.
pub fn get_tsl(product_key: &str) -> Result<String, Fault> {
    wit::get_tsl(product_key)
}

/// The product's TSL extension, as JSON text. Fault 100009: it has none.
pub fn get_tsl_ext_info(product_key: &str) -> Result<String, Fault> {
    wit::get_tsl_ext_info(product_key)
}

/// The configuration of this driver and the devices that it shall serve. Fault 109007, which would be an error of the gateway.
pub fn driver_config() -> Result<DriverConfig, Fault> {
    wit::driver_config().parse()
}

/// The driver's own settings alone: `{}` if there are none. Fault 109007, which would be an error of the gateway.
pub fn driver_info() -> Result<serde_json::Value, Fault> {
    thing_access::settings(&wit::driver_info())
}

/// The devices alone. Fault 109007, which would be an error of the gateway.
pub fn device_info() -> Result<Vec<DeviceInfo>, Fault> {
    thing_access::devices(&wit::device_info())
}

/// Waits for so long, and answers what the gateway asks meanwhile. Within an answer it only waits.
pub fn sleep(duration: Duration) {
    let Some(driver) = DRIVER.get().filter(|_| !IS_ANSWERING.get()) else { return std::thread::sleep(duration) };
    let began = Instant::now();
    loop {
        let left = duration.saturating_sub(began.elapsed());
        if requests::wait(left.as_nanos().try_into().unwrap_or(u64::MAX)) {
            answer_one(driver);
        }
        if began.elapsed() >= duration {
            return;
        }
    }
}

/// Answers what waits now, and returns: for a loop that waits by other means than [`sleep`].
pub fn answer_waiting() {
    if let Some(driver) = DRIVER.get().filter(|_| !IS_ANSWERING.get()) {
        while answer_one(driver) {}
    }
}

/// Waits until something is ready, and answers what the gateway asks meanwhile. Within an answer it only waits.
fn wait_for(what: &Pollable) {
    let Some(driver) = DRIVER.get().filter(|_| !IS_ANSWERING.get()) else { return what.block() };
    let asked = requests::subscribe();
    while !what.ready() {
        poll(&[what, &asked]);
        answer_one(driver);
    }
}

/// Whether there was a request.
fn answer_one(driver: &dyn Answers) -> bool {
    let Some((id, request)) = requests::take() else { return false };
    IS_ANSWERING.set(true);
    let answer = driver.answer(request);
    IS_ANSWERING.set(false);
    // Whoever asked may have given up; the gateway has said so then.
    let _ = requests::answer(id, answer.as_deref());
    true
}

trait Answers {
    fn answer(&self, request: requests::Request) -> Result<Vec<Property>, Fault>;
}

impl<D: Driver> Answers for D {
    fn answer(&self, request: requests::Request) -> Result<Vec<Property>, Fault> {
        use requests::{CallRequest, GetRequest, Request, SetRequest};
        match request {
            Request::GetProperties(GetRequest { thing, identifiers }) => self.get_properties(&thing, identifiers).map(Vec::from),
            Request::SetProperties(SetRequest { thing, properties }) => self.set_properties(&thing, properties.into()).map(|()| Vec::new()),
            Request::CallService(CallRequest { thing, service, arguments }) => {
                self.call_service(&thing, &service, arguments.into()).map(Vec::from)
            }
            Request::ConfigChanged(config) => self.config_changed(config.parse()?).map(|()| Vec::new()),
        }
    }
}

thread_local! {
    static DRIVER: Cell<Option<&'static dyn Answers>> = const { Cell::new(None) };
    static IS_ANSWERING: Cell<bool> = const { Cell::new(false) };
}

/// What [`blocking_driver!`](crate::blocking_driver) exports.
#[doc(hidden)]
pub fn run<D: Driver>() -> Result<(), String> {
    // It lives as long as the component does.
    let driver: &'static D = Box::leak(Box::default());
    DRIVER.set(Some(driver));
    driver.run().map_err(|error| error.to_string())
}

/// Makes a component of the type that is named; it implements [`blocking::Driver`](crate::blocking::Driver).
// rustfmt cannot place the `export!` line.
#[rustfmt::skip]
#[macro_export]
macro_rules! blocking_driver {
    ($driver:ty) => {
        const _: () = {
            struct Component;

            impl $crate::bindings::blocking::exports::ledge::edge::blocking_driver::Guest for Component {
                fn run() -> ::core::result::Result<(), ::std::string::String> {
                    $crate::blocking::run::<$driver>()
                }
            }

            $crate::bindings::blocking::export!(Component with_types_in $crate::bindings::blocking);
        };
    };
}

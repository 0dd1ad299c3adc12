//! What makes a component a driver: the calls that come while it runs (manual 1.1, `leda_device_callback_t`).

use crate::thing_access::DriverConfig;
use crate::value::Properties;
use crate::{Error, Fault, ThingId};

/// A driver.
///
/// ```
/// use std::time::Duration;
///
/// use ledge_sdk::device::Driver;
/// use ledge_sdk::thing_access::{self, Thing};
/// use ledge_sdk::value::Properties;
/// use ledge_sdk::{Error, Fault, ThingId, clock};
///
/// ledge_sdk::driver!(Thermometer);
///
/// #[derive(Default)]
/// struct Thermometer;
///
/// impl Driver for Thermometer {
///     async fn run(&self) -> Result<(), Error> {
///         let config = thing_access::driver_config().await?;
///         let device = config.devices.first().ok_or("no device is declared for this driver")?;
///         let thing = Thing::register(device).await?;
///         loop {
///             thing.report_properties([("temperature", 41)]).await?;
///             clock::sleep(Duration::from_secs(2)).await;
///         }
///     }
///
///     async fn get_properties(&self, _thing: &ThingId, _identifiers: Vec<String>) -> Result<Properties, Fault> {
///         Ok([("temperature", 41)].into())
///     }
/// }
/// ```
///
/// One instance of the type lives as long as the component, and all calls come to it: state that changes
/// goes into a `Cell` or a `RefCell`. Several calls may be under way at once, so never keep a `RefCell` borrowed across an `.await`.
///
/// A call has to answer within the driver's deadline, else its caller gets fault 100006. Wait with `.await` only
/// ([`crate::clock::sleep`]): a blocking call such as `std::thread::sleep` holds up every other call.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Driver: Default + 'static {
    /// The driver's life: registers its things and talks to them. When it returns, its things go offline and the
    /// driver is started again after a while. A driver that only answers calls ends with `std::future::pending().await`.
    async fn run(&self) -> Result<(), Error>;

    /// The current values of these properties. All of them exist in the TSL and are readable.
    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault>;

    /// Sets these properties. All of them exist, are writable and have the TSL's type and range.
    /// Unless it is given: fault 109003, everything is read-only.
    async fn set_properties(&self, thing: &ThingId, properties: Properties) -> Result<(), Fault> {
        let _ = properties;
        Err(Fault::new(Fault::PROPERTY_READ_ONLY, format!("the driver of `{thing}` sets no properties")))
    }

    /// Calls a service and returns its output. The service exists in the TSL and the arguments have the TSL's types.
    /// Unless it is given: fault 109005, there are no services.
    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        let _ = arguments;
        Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("the driver of `{thing}` has no service `{service}`")))
    }

    /// The configuration, or the list of devices, was changed while the driver runs (manual 1.1, `leda_register_config_changed_callback`).
    /// A driver that takes it over answers `Ok`; one that does not is started again with it.
    /// Unless this is given, the driver is started again.
    async fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        let _ = config;
        Err(Fault::new(Fault::UNKNOWN, "the driver takes changes of its configuration up when it starts"))
    }
}

/// Makes a component of the type that is named; it implements [`Driver`](crate::device::Driver).
// rustfmt cannot place the `export!` line.
#[rustfmt::skip]
#[macro_export]
macro_rules! driver {
    ($driver:ty) => {
        const _: () = {
            // Paths in full: a driver's type may have any name, `Driver` too.
            struct Component;

            thread_local! {
                // Leaked: it lives as long as the component, and futures that wait may then refer to it.
                static DRIVER: &'static $driver = ::std::boxed::Box::leak(::std::boxed::Box::default());
            }

            fn driver() -> &'static impl $crate::device::Driver {
                DRIVER.with(|driver| *driver)
            }

            impl $crate::bindings::driver::exports::ledge::edge::device::Guest for Component {
                async fn run() -> Result<(), String> {
                    $crate::device::Driver::run(driver()).await.map_err(|error| error.to_string())
                }

                async fn get_properties(
                    thing: $crate::ThingId,
                    identifiers: Vec<String>,
                ) -> Result<Vec<$crate::value::Property>, $crate::Fault> {
                    $crate::device::Driver::get_properties(driver(), &thing, identifiers).await.map(Into::into)
                }

                async fn set_properties(thing: $crate::ThingId, properties: Vec<$crate::value::Property>) -> Result<(), $crate::Fault> {
                    $crate::device::Driver::set_properties(driver(), &thing, properties.into()).await
                }

                async fn call_service(
                    thing: $crate::ThingId,
                    service: String,
                    arguments: Vec<$crate::value::Property>,
                ) -> Result<Vec<$crate::value::Property>, $crate::Fault> {
                    $crate::device::Driver::call_service(driver(), &thing, &service, arguments.into()).await.map(Into::into)
                }

                async fn config_changed(config: String) -> Result<(), $crate::Fault> {
                    $crate::device::Driver::config_changed(driver(), config.parse()?).await
                }
            }

            $crate::bindings::driver::export!(Component with_types_in $crate::bindings::driver);
        };
    };
}

//! How a driver brings its things to the gateway (manual chapter 1).

mod config;
mod settings;

use crate::bindings::driver::ledge::edge::thing_access as wit;
use crate::value::Properties;
use crate::{Fault, ThingId};

pub use config::{DeviceInfo, DriverConfig};
pub(crate) use config::{devices, settings};
pub use settings::Settings;

/// A registered thing. Dropping it takes the thing offline, so keep it for as long as the device is there.
#[derive(Debug)]
pub struct Thing(wit::Thing);

impl Thing {
    /// Registers the thing that the project declares for this driver, and brings it online
    /// (manual 1.1, `leda_register_and_online_by_device_name`). Again for the same name: a second handle.
    ///
    /// Faults: 109000 (not declared for this driver in `ledge.toml`), 100001 (a thing of this product was registered by its local name
    /// before: use one kind of name for all things of a product).
    pub async fn register_by_device_name(product_key: &str, device_name: &str) -> Result<Self, Fault> {
        wit::Thing::register_by_device_name(product_key.to_owned(), device_name.to_owned()).await.map(Self)
    }

    /// The same by the thing's `local_name`: a name that the driver can read off the device itself
    /// (manual 1.1, `leda_register_and_online_by_local_name`). Faults: 109000, 100001 (one of this product was registered by its device name).
    pub async fn register_by_local_name(product_key: &str, local_name: &str) -> Result<Self, Fault> {
        wit::Thing::register_by_local_name(product_key.to_owned(), local_name.to_owned()).await.map(Self)
    }

    /// Registers a device of [`driver_config`], by its device name.
    pub async fn register(device: &DeviceInfo) -> Result<Self, Fault> {
        Self::register_by_device_name(&device.product_key, &device.device_name).await
    }

    /// Another handle of a thing that this driver has registered, online or not (manual 1.1, `leda_get_device_handle`).
    /// Fault: 109000 (it has not).
    pub async fn get_device_handle(product_key: &str, device_name: &str) -> Result<Self, Fault> {
        wit::Thing::get_device_handle(product_key.to_owned(), device_name.to_owned()).await.map(Self)
    }

    /// The names by which calls of the driver ask for this thing.
    pub fn id(&self) -> ThingId {
        self.0.id()
    }

    /// Brings the thing online again after [`Thing::offline`] (manual 1.1, `leda_online`). Fault: 109000 (unregistered).
    pub async fn online(&self) -> Result<(), Fault> {
        self.0.online().await
    }

    /// Takes the thing offline: who asks for it is answered 109001, and the driver is not asked
    /// (manual 1.1, `leda_offline`). Fault: 109000.
    pub async fn offline(&self) -> Result<(), Fault> {
        self.0.offline().await
    }

    /// Takes the thing offline and forgets the registration (manual 1.2, `unregister`). Fault: 109000.
    pub async fn unregister(self) -> Result<(), Fault> {
        self.0.unregister().await
    }

    /// Reports values, as of now (manual 1.1, `leda_report_properties`). Where some are refused the others are kept.
    ///
    /// Faults: 109000, 109001 (offline), 100001 (nothing given), 109002 (not in the TSL), 109008 (wrong type),
    /// 100007 (out of range).
    pub async fn report_properties(&self, properties: impl Into<Properties>) -> Result<(), Fault> {
        self.0.report_properties(properties.into().into()).await
    }

    /// Reports an event of the product's TSL (manual 1.1, `leda_report_event`). `()` stands for no outputs.
    ///
    /// Faults: 109000, 109001, 100001 (no such event, or wrong outputs).
    pub async fn report_event(&self, event: &str, outputs: impl Into<Properties>) -> Result<(), Fault> {
        self.0.report_event(event.to_owned(), outputs.into().into()).await
    }
}

/// The product's TSL, as JSON text (manual 1.1, `leda_get_tsl`). Fault: 100009 (no such product).
pub async fn get_tsl(product_key: &str) -> Result<String, Fault> {
    wit::get_tsl(product_key.to_owned()).await
}

/// The product's TSL extension, as JSON text (manual 1.1, `leda_get_tsl_ext_info`). Fault: 100009 (it has none).
pub async fn get_tsl_ext_info(product_key: &str) -> Result<String, Fault> {
    wit::get_tsl_ext_info(product_key.to_owned()).await
}

/// The configuration of this driver and the devices that it shall serve (manual 1.1, `leda_get_config`).
/// Fault: 109007, which would be an error of the gateway.
pub async fn driver_config() -> Result<DriverConfig, Fault> {
    wit::driver_config().await.parse()
}

/// The driver's own settings alone (manual 1.1, `leda_get_driver_info`; 1.2, `Config.getDriverInfo`): `{}` if there are none.
/// Fault: 109007, which would be an error of the gateway.
pub async fn driver_info() -> Result<serde_json::Value, Fault> {
    settings(&wit::driver_info().await)
}

/// The devices alone (manual 1.1, `leda_get_device_info`; 1.2, `Config.getThingInfos`).
/// Fault: 109007, which would be an error of the gateway.
pub async fn device_info() -> Result<Vec<DeviceInfo>, Fault> {
    devices(&wit::device_info().await)
}

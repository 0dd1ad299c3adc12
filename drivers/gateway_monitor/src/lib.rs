//! The gateway itself as a thing: its processors, memory, disk, temperature and uptime as properties, and what is counted of its
//! functions as services.
//!
//! Every gateway brings it along. The driver's setting `period_ms` says how often it reports.

mod counters;
mod figures;
mod settings;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, DeviceInfo, DriverConfig, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId, clock, gateway_info};

use settings::Settings;

ledge_sdk::driver!(GatewayMonitor);

#[derive(Default)]
struct GatewayMonitor {
    /// As it is now: it may be changed while the driver runs.
    period: Cell<Duration>,
    /// Whether it was said that the model takes not all of the figures.
    is_refusal_said: Cell<bool>,
    /// Those that it serves.
    devices: RefCell<Vec<DeviceInfo>>,
}

impl Driver for GatewayMonitor {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        self.period.set(Settings::read(&config)?.period);
        let mut gateways = Vec::new();
        for device in &config.devices {
            gateways.push(Thing::register(device).await?);
        }
        self.devices.replace(config.devices);
        loop {
            match gateway_info::get().await {
                Ok(info) => self.report(&gateways, &figures::properties(&info)).await?,
                // A disk that does not answer may answer later.
                Err(fault) if fault.code == Fault::TIMEOUT => eprintln!("{fault}"),
                Err(fault) => return Err(fault.into()),
            }
            clock::sleep(self.period.get()).await;
        }
    }

    async fn get_properties(&self, _thing: &ThingId, identifiers: Vec<String>) -> Result<Properties, Fault> {
        let figures = figures::properties(&gateway_info::get().await?);
        Ok(figures.into_iter().filter(|figure| identifiers.contains(&figure.identifier)).collect())
    }

    async fn call_service(&self, thing: &ThingId, service: &str, arguments: Properties) -> Result<Properties, Fault> {
        match service {
            counters::OF_ONE => counters::of_one(&arguments).await,
            counters::OF_ALL => counters::of_all(&arguments).await,
            _ => Err(Fault::new(Fault::SERVICE_NOT_EXIST, format!("the driver of `{thing}` has no service `{service}`"))),
        }
    }

    async fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        if config.devices != *self.devices.borrow() {
            return Err(Fault::new(Fault::UNKNOWN, "other things are there at the next start"));
        }
        let settings = Settings::read(&config).map_err(|wrong| Fault::new(Fault::INVALID_PARAM, wrong))?;
        self.period.set(settings.period);
        Ok(())
    }
}

impl GatewayMonitor {
    async fn report(&self, gateways: &[Thing], figures: &Properties) -> Result<(), Fault> {
        for gateway in gateways {
            match gateway.report_properties(figures.clone()).await {
                Ok(()) => {}
                // The next report will do as well.
                Err(fault) if fault.code == Fault::TOO_MANY => {}
                // Somebody has another model: what it takes was taken.
                Err(fault) if matches!(fault.code, Fault::PROPERTY_NOT_EXIST | Fault::INVALID_TYPE | Fault::PARAM_RANGE_OVERFLOW) => {
                    if !self.is_refusal_said.replace(true) {
                        eprintln!("{fault}; it is not said again");
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

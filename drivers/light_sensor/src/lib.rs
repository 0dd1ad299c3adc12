//! A light sensor without hardware: its day goes from dark to bright and back.
//!
//! `MeasuredIlluminance` starts at 200 lux and moves by 100 between 100 and 600, and every step is reported.
//! The driver's setting `period_ms` says how long a step takes.

mod settings;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ledge_sdk::clock;
use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, DeviceInfo, DriverConfig, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

use settings::Settings;

ledge_sdk::driver!(LightSensor);

struct LightSensor {
    illuminance_lx: Cell<f32>,
    step_lx: Cell<f32>,
    /// As it is now: it may be changed while the driver runs.
    period: Cell<Duration>,
    devices: RefCell<Vec<DeviceInfo>>,
}

const START_LX: f32 = 200.0;
const STEP_LX: f32 = 100.0;
const DARKEST_LX: f32 = 100.0;
const BRIGHTEST_LX: f32 = 600.0;

impl Default for LightSensor {
    fn default() -> Self {
        Self { illuminance_lx: Cell::new(START_LX), step_lx: Cell::new(STEP_LX), period: Cell::default(), devices: RefCell::default() }
    }
}

impl Driver for LightSensor {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        self.period.set(Settings::read(&config)?.period);
        let mut sensors = Vec::new();
        for device in &config.devices {
            sensors.push(Thing::register(device).await?);
        }
        self.devices.replace(config.devices);
        loop {
            for sensor in &sensors {
                sensor.report_properties(self.measured()).await?;
            }
            clock::sleep(self.period.get()).await;
            self.step();
        }
    }

    async fn get_properties(&self, _thing: &ThingId, _identifiers: Vec<String>) -> Result<Properties, Fault> {
        Ok(self.measured())
    }

    async fn config_changed(&self, config: DriverConfig) -> Result<(), Fault> {
        if config.devices != *self.devices.borrow() {
            return Err(Fault::new(Fault::UNKNOWN, "other sensors are there at the next start"));
        }
        let settings = Settings::read(&config).map_err(|wrong| Fault::new(Fault::INVALID_PARAM, wrong))?;
        self.period.set(settings.period);
        Ok(())
    }
}

impl LightSensor {
    fn measured(&self) -> Properties {
        [("MeasuredIlluminance", self.illuminance_lx.get())].into()
    }

    fn step(&self) {
        let next = self.illuminance_lx.get() + self.step_lx.get();
        if !(DARKEST_LX..=BRIGHTEST_LX).contains(&next) {
            self.step_lx.set(-self.step_lx.get());
        }
        self.illuminance_lx.set(self.illuminance_lx.get() + self.step_lx.get());
    }
}

//! A light sensor without hardware: its day goes from dark to bright and back.
//!
//! `MeasuredIlluminance` starts at 200 lux and moves by 100 between 100 and 600, and every step is reported.
//! The driver's setting `period_ms` says how long a step takes, 2000 unless it is given, at least 1.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ledge_sdk::clock;
use ledge_sdk::device::Driver;
use ledge_sdk::thing_access::{self, DeviceInfo, DriverConfig, Thing};
use ledge_sdk::value::Properties;
use ledge_sdk::{Error, Fault, ThingId};

ledge_sdk::driver!(LightSensor);

struct LightSensor {
    illuminance_lx: Cell<f32>,
    step_lx: Cell<f32>,
    period_ms: Cell<u64>,
    devices: RefCell<Vec<DeviceInfo>>,
}

const START_LX: f32 = 200.0;
const STEP_LX: f32 = 100.0;
const DARKEST_LX: f32 = 100.0;
const BRIGHTEST_LX: f32 = 600.0;
const PERIOD_MS: u64 = 2_000;

impl Default for LightSensor {
    fn default() -> Self {
        Self {
            illuminance_lx: Cell::new(START_LX),
            step_lx: Cell::new(STEP_LX),
            period_ms: Cell::new(PERIOD_MS),
            devices: RefCell::default(),
        }
    }
}

impl Driver for LightSensor {
    async fn run(&self) -> Result<(), Error> {
        let config = thing_access::driver_config().await?;
        self.configure(&config);
        let mut sensors = Vec::new();
        for device in &config.devices {
            sensors.push(Thing::register(device).await?);
        }
        self.devices.replace(config.devices);
        loop {
            for sensor in &sensors {
                sensor.report_properties(self.measured()).await?;
            }
            clock::sleep(Duration::from_millis(self.period_ms.get())).await;
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
        self.configure(&config);
        Ok(())
    }
}

impl LightSensor {
    fn configure(&self, config: &DriverConfig) {
        self.period_ms.set(config.setting_u64("period_ms").unwrap_or(PERIOD_MS).max(1));
    }

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

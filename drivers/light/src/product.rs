//! Product `a1Light`: its properties, events and services as Rust types.
//!
//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.

#![allow(dead_code, unused_imports)]
#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
#![cfg_attr(rustfmt, rustfmt_skip)]

use ledge_sdk::{Error, Fault, ThingId, device, thing_access, value};

/// The key of the product.
pub const PRODUCT_KEY: &str = "a1Light";

// A deployment holds this against the product, and refuses the component where they do not fit.
ledge_sdk::product_uses!(r#"{"product":"a1Light","properties":{"LightSwitch":{"access":"rw","type":"bool"}},"events":{"switched":{"outputs":{"LightSwitch":"bool"}}},"services":{"turn":{"inputs":{"LightSwitch":{"type":"bool","required":true}},"outputs":{"LightSwitch":"bool"}}}}"#);

/// A property that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// `LightSwitch`, Light switch: `false` is off, `true` is on.
    ///
    /// Whether the lamp is on
    LightSwitch,
}

impl Property {
    /// All of them, in the order of the TSL.
    pub const ALL: &[Self] = &[
        Self::LightSwitch,
    ];

    /// As the TSL spells it.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::LightSwitch => "LightSwitch",
        }
    }

    /// The one that the TSL spells so.
    pub fn of(identifier: &str) -> Option<Self> {
        match identifier {
            "LightSwitch" => Some(Self::LightSwitch),
            _ => None,
        }
    }
}

/// Values of properties that can be read. Each is there or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// `LightSwitch`, Light switch: `false` is off, `true` is on.
    ///
    /// Whether the lamp is on
    pub light_switch: Option<bool>,
}

impl Properties {
    /// The same with `LightSwitch`.
    #[must_use]
    pub fn light_switch(mut self, value: bool) -> Self {
        self.light_switch = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Properties {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            light_switch: values.get_optional("LightSwitch")?,
        })
    }
}

impl From<Properties> for value::Properties {
    fn from(given: Properties) -> Self {
        let mut values = Self::new();
        values.set_optional("LightSwitch", given.light_switch);
        values
    }
}

/// Values for properties that can be set. What is not there stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `LightSwitch`, Light switch: `false` is off, `true` is on.
    ///
    /// Whether the lamp is on
    pub light_switch: Option<bool>,
}

impl Settings {
    /// The same with `LightSwitch`.
    #[must_use]
    pub fn light_switch(mut self, value: bool) -> Self {
        self.light_switch = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Settings {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            light_switch: values.get_optional("LightSwitch")?,
        })
    }
}

impl From<Settings> for value::Properties {
    fn from(given: Settings) -> Self {
        let mut values = Self::new();
        values.set_optional("LightSwitch", given.light_switch);
        values
    }
}

/// What the service `turn` answers.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnOutput {
    /// `LightSwitch`, Light switch: `false` is off, `true` is on.
    pub light_switch: bool,
}

impl TryFrom<&value::Properties> for TurnOutput {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            light_switch: values.get("LightSwitch")?,
        })
    }
}

impl From<TurnOutput> for value::Properties {
    fn from(given: TurnOutput) -> Self {
        let mut values = Self::new();
        values.set("LightSwitch", given.light_switch);
        values
    }
}

/// A thing of this product, as its driver has it. Dropping it takes the thing offline.
#[derive(Debug)]
pub struct Registered(thing_access::Thing);

impl Registered {
    /// Registers a device of the driver's configuration. Faults: 100001 (it is of another product), 109000.
    pub async fn register(device: &thing_access::DeviceInfo) -> Result<Self, Fault> {
        if device.product_key != PRODUCT_KEY {
            let name = format!("{}/{}", device.product_key, device.device_name);
            let message = format!("`{name}` is no thing of product `{PRODUCT_KEY}`");
            return Err(Fault::new(Fault::INVALID_PARAM, message));
        }
        Ok(Self(thing_access::Thing::register(device).await?))
    }

    /// The names by which calls of the driver ask for it.
    pub fn id(&self) -> ThingId {
        self.0.id()
    }

    /// The thing, for what has nothing to do with its product.
    pub fn thing(&self) -> &thing_access::Thing {
        &self.0
    }

    /// Reports values, as of now. Where some are refused the others are kept. Faults: those of `Thing::report_properties`.
    pub async fn report(&self, values: Properties) -> Result<(), Fault> {
        self.0.report_properties(values).await
    }

    /// `switched`, Switched.
    ///
    /// The lamp went on or off
    ///
    /// Arguments:
    /// - `light_switch` is `LightSwitch`, Light switch: `false` is off, `true` is on.
    pub async fn switched(&self, light_switch: bool) -> Result<(), Fault> {
        let mut outputs = value::Properties::new();
        outputs.set("LightSwitch", light_switch);
        self.0.report_event("switched", outputs).await
    }
}

/// A driver of things of this product: `ledge_sdk::device::Driver` with types.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Driver: Default + 'static {
    /// The driver's life, as in `ledge_sdk::device::Driver`.
    async fn run(&self) -> Result<(), Error>;

    /// The current values of these properties, of which there is one at least. What is not wanted is left away.
    async fn get(&self, thing: &ThingId, wanted: &[Property]) -> Result<Properties, Fault>;

    /// Sets those that are there.
    async fn set(&self, thing: &ThingId, settings: Settings) -> Result<(), Fault>;

    /// `turn`, Turn on or off.
    ///
    /// Switches the lamp and returns its new state
    ///
    /// Arguments:
    /// - `light_switch` is `LightSwitch`, Light switch: `false` is off, `true` is on.
    async fn turn(&self, thing: &ThingId, light_switch: bool) -> Result<TurnOutput, Fault>;

    /// The configuration, or the list of devices, was changed while the driver runs. A driver that takes it over answers `Ok`; one that
    /// does not is started again with it, and so it is unless this is given.
    async fn config_changed(&self, config: thing_access::DriverConfig) -> Result<(), Fault> {
        let _ = config;
        Err(Fault::new(Fault::UNKNOWN, "the driver takes changes of its configuration up when it starts"))
    }
}

/// The component of such a driver: `ledge_sdk::driver!(product::Component<MyDriver>);`. A driver of several products has one of each,
/// and hands each call to that of its product.
#[derive(Debug, Default)]
pub struct Component<D>(pub D);

impl<D: Driver> device::Driver for Component<D> {
    async fn run(&self) -> Result<(), Error> {
        Driver::run(&self.0).await
    }

    async fn get_properties(&self, thing: &ThingId, identifiers: Vec<String>) -> Result<value::Properties, Fault> {
        let wanted: Vec<Property> = identifiers.iter().filter_map(|identifier| Property::of(identifier)).collect();
        if wanted.is_empty() {
            let message = format!("the driver of `{thing}` does not know {}", identifiers.join(", "));
            return Err(Fault::new(Fault::PROPERTY_NOT_EXIST, message));
        }
        Ok(value::Properties::from(Driver::get(&self.0, thing, &wanted).await?))
    }

    async fn set_properties(
        &self,
        thing: &ThingId,
        properties: value::Properties,
    ) -> Result<(), Fault> {
        let known = ["LightSwitch"];
        if let Some(other) = properties.iter().find(|property| !known.contains(&property.identifier.as_str())) {
            let message = format!("the driver of `{thing}` does not know `{}`", other.identifier);
            return Err(Fault::new(Fault::PROPERTY_NOT_EXIST, message));
        }
        let settings = <Settings as TryFrom<&value::Properties>>::try_from(&properties)?;
        Driver::set(&self.0, thing, settings).await
    }

    async fn call_service(
        &self,
        thing: &ThingId,
        service: &str,
        arguments: value::Properties,
    ) -> Result<value::Properties, Fault> {
        let wrong = |error: value::ValueError| {
            Fault::new(Fault::SERVICE_INPUT_PARAM, format!("service `{service}`: {error}"))
        };
        match service {
            "turn" => {
                let input_0 = arguments.get("LightSwitch").map_err(wrong)?;
                Ok(value::Properties::from(Driver::turn(&self.0, thing, input_0).await?))
            }
            _ => {
                let message = format!("the driver of `{thing}` has no service `{service}`");
                Err(Fault::new(Fault::SERVICE_NOT_EXIST, message))
            }
        }
    }

    async fn config_changed(&self, config: thing_access::DriverConfig) -> Result<(), Fault> {
        Driver::config_changed(&self.0, config).await
    }
}

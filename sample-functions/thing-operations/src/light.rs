//! Product `a1Light`: its properties, events and services as Rust types.
//!
//! Only `LightSwitch`, `turn`.
//!
//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.

#![allow(dead_code, unused_imports)]
#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
#![cfg_attr(rustfmt, rustfmt_skip)]

use ledge_sdk::handler::RoutedMessage;
use ledge_sdk::{Error, Fault, iot_data, value};

/// The key of the product.
pub const PRODUCT_KEY: &str = "a1Light";

// A deployment holds this against the product, and refuses the component where they do not fit.
ledge_sdk::product_uses!(r#"{"product":"a1Light","properties":{"LightSwitch":{"access":"rw","type":"bool"}},"events":{},"services":{"turn":{"inputs":{"LightSwitch":{"type":"bool","required":true}},"outputs":{"LightSwitch":"bool"}}}}"#);

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

/// A thing of this product, as functions have it. What a call needs of grants, and its faults, are those of
/// `ledge_sdk::iot_data`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thing {
    name: String,
}

impl Thing {
    /// The thing of that device name, whether there is one or not.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its device name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for these properties, or for all of them where none is named. Grant: `things.read`.
    pub fn get(&self, wanted: &[Property]) -> Result<Properties, Fault> {
        let wanted = if wanted.is_empty() { Property::ALL } else { wanted };
        let identifiers: Vec<&str> = wanted.iter().map(|property| property.identifier()).collect();
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &identifiers)?;
        Ok(<Properties as TryFrom<&value::Properties>>::try_from(&values)?)
    }

    /// `LightSwitch`, Light switch: `false` is off, `true` is on.
    ///
    /// Whether the lamp is on
    pub fn get_light_switch(&self) -> Result<bool, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["LightSwitch"])?;
        Ok(values.get("LightSwitch")?)
    }

    /// Sets all of these, or none if the gateway refuses one. Grant: `things.write`.
    pub fn set(&self, settings: Settings) -> Result<(), Fault> {
        iot_data::set_thing_properties(PRODUCT_KEY, &self.name, settings)
    }

    /// `LightSwitch`, Light switch: `false` is off, `true` is on.
    ///
    /// Whether the lamp is on
    pub fn set_light_switch(&self, value: bool) -> Result<(), Fault> {
        self.set(Settings::default().light_switch(value))
    }

    /// `turn`, Turn on or off.
    ///
    /// Switches the lamp and returns its new state
    ///
    /// Arguments:
    /// - `light_switch` is `LightSwitch`, Light switch: `false` is off, `true` is on.
    pub fn turn(&self, light_switch: bool) -> Result<TurnOutput, Fault> {
        let mut arguments = value::Properties::new();
        arguments.set("LightSwitch", light_switch);
        let outputs = iot_data::call_thing_service(PRODUCT_KEY, &self.name, "turn", arguments)?;
        Ok(TurnOutput::try_from(&outputs)?)
    }
}

/// What a route brings of a thing of this product.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A report of properties: those that it has.
    Report(Properties),
}

impl Event {
    /// The thing that a message is of, and what it says.
    pub fn of(message: &RoutedMessage) -> Result<(Thing, Self), Error> {
        let (id, event) = message.thing_event()?;
        if id.product_key != PRODUCT_KEY {
            return Err(format!("the message of topic `{}` is of no thing of product `{PRODUCT_KEY}`", message.topic).into());
        }
        let event = match event {
            "property" => Self::Report(<Properties as TryFrom<&value::Properties>>::try_from(&message.properties()?)?),
            other => return Err(format!("`{other}` is no event of `{id}` that this function knows").into()),
        };
        Ok((Thing::new(id.device_name), event))
    }
}

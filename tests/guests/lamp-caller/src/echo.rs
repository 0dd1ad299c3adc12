//! Product `a1Echo`: its properties, events and services as Rust types.
//!
//! Only `Number`, `alarm`.
//!
//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.

#![allow(dead_code, unused_imports)]
#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
#![cfg_attr(rustfmt, rustfmt_skip)]

use ledge_sdk::handler::RoutedMessage;
use ledge_sdk::{Error, Fault, iot_data, value};

/// The key of the product.
pub const PRODUCT_KEY: &str = "a1Echo";

// A deployment holds this against the product, and refuses the component where they do not fit.
ledge_sdk::product_uses!(r#"{"product":"a1Echo","properties":{"Number":{"access":"rw","type":"int"}},"events":{"alarm":{"outputs":{"level":"int"}}},"services":{}}"#);

/// A property that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// `Number`, a number: 0 to 100.
    Number,
}

impl Property {
    /// All of them, in the order of the TSL.
    pub const ALL: &[Self] = &[
        Self::Number,
    ];

    /// As the TSL spells it.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::Number => "Number",
        }
    }

    /// The one that the TSL spells so.
    pub fn of(identifier: &str) -> Option<Self> {
        match identifier {
            "Number" => Some(Self::Number),
            _ => None,
        }
    }
}

/// Values of properties that can be read. Each is there or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// `Number`, a number: 0 to 100.
    pub number: Option<i32>,
}

impl Properties {
    /// The same with `Number`.
    #[must_use]
    pub fn number(mut self, value: i32) -> Self {
        self.number = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Properties {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            number: values.get_optional("Number")?,
        })
    }
}

impl From<Properties> for value::Properties {
    fn from(given: Properties) -> Self {
        let mut values = Self::new();
        values.set_optional("Number", given.number);
        values
    }
}

/// Values for properties that can be set. What is not there stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `Number`, a number: 0 to 100.
    pub number: Option<i32>,
}

impl Settings {
    /// The same with `Number`.
    #[must_use]
    pub fn number(mut self, value: i32) -> Self {
        self.number = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Settings {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            number: values.get_optional("Number")?,
        })
    }
}

impl From<Settings> for value::Properties {
    fn from(given: Settings) -> Self {
        let mut values = Self::new();
        values.set_optional("Number", given.number);
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

    /// `Number`, a number: 0 to 100.
    pub fn get_number(&self) -> Result<i32, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Number"])?;
        Ok(values.get("Number")?)
    }

    /// Sets all of these, or none if the gateway refuses one. Grant: `things.write`.
    pub fn set(&self, settings: Settings) -> Result<(), Fault> {
        iot_data::set_thing_properties(PRODUCT_KEY, &self.name, settings)
    }

    /// `Number`, a number: 0 to 100.
    pub fn set_number(&self, value: i32) -> Result<(), Fault> {
        self.set(Settings::default().number(value))
    }
}

/// `alarm`, an alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// `level`, how bad: 0 to 9.
    pub level: i32,
}

impl TryFrom<&value::Properties> for Alarm {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            level: values.get("level")?,
        })
    }
}

impl From<Alarm> for value::Properties {
    fn from(given: Alarm) -> Self {
        let mut values = Self::new();
        values.set("level", given.level);
        values
    }
}

/// What a route brings of a thing of this product.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A report of properties: those that it has.
    Report(Properties),
    /// `alarm`, an alarm.
    Alarm(Alarm),
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
            "alarm" => Self::Alarm(Alarm::try_from(&message.outputs()?)?),
            other => return Err(format!("`{other}` is no event of `{id}` that this function knows").into()),
        };
        Ok((Thing::new(id.device_name), event))
    }
}

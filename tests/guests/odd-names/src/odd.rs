//! Product `a1Odd`: its properties, events and services as Rust types.
//!
//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.

#![allow(dead_code, unused_imports)]
#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
#![cfg_attr(rustfmt, rustfmt_skip)]

use ledge_sdk::handler::RoutedMessage;
use ledge_sdk::{Error, Fault, ThingId, device, iot_data, thing_access, value};

/// The key of the product.
pub const PRODUCT_KEY: &str = "a1Odd";

// A deployment holds this against the product, and refuses the component where they do not fit.
ledge_sdk::product_uses!(r#"{"product":"a1Odd","properties":{"clone":{"access":"rw","type":{"enum":[0,1]}},"into":{"access":"rw","type":"int"},"try_from":{"access":"rw","type":"text"}},"events":{"error":{"outputs":{"from":"int"}}},"services":{"into":{"inputs":{"self":{"type":"int","required":true}},"outputs":{"into":"int"}},"try_into":{"inputs":{},"outputs":{}}}}"#);

/// `clone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Clone2 {
    /// `0`: Error.
    Error = 0,
    /// `1`: Ok.
    Ok = 1,
}

impl Clone2 {
    /// The member's number.
    pub fn number(self) -> i32 {
        self as i32
    }
}

impl TryFrom<&value::Value> for Clone2 {
    type Error = value::WrongType;

    fn try_from(value: &value::Value) -> Result<Self, value::WrongType> {
        match i32::try_from(value)? {
            0 => Ok(Self::Error),
            1 => Ok(Self::Ok),
            _ => Err(value::WrongType::new("Clone2", value)),
        }
    }
}

impl From<Clone2> for value::Value {
    fn from(member: Clone2) -> Self {
        Self::Enumeration(member.number())
    }
}

/// A property that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// `into`.
    Into,
    /// `try_from`: at most 64 bytes of UTF-8.
    TryFrom,
    /// `clone`.
    Clone,
}

impl Property {
    /// All of them, in the order of the TSL.
    pub const ALL: &[Self] = &[
        Self::Into,
        Self::TryFrom,
        Self::Clone,
    ];

    /// As the TSL spells it.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::Into => "into",
            Self::TryFrom => "try_from",
            Self::Clone => "clone",
        }
    }

    /// The one that the TSL spells so.
    pub fn of(identifier: &str) -> Option<Self> {
        match identifier {
            "into" => Some(Self::Into),
            "try_from" => Some(Self::TryFrom),
            "clone" => Some(Self::Clone),
            _ => None,
        }
    }
}

/// Values of properties that can be read. Each is there or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// `into`.
    pub into: Option<i32>,
    /// `try_from`: at most 64 bytes of UTF-8.
    pub try_from: Option<String>,
    /// `clone`.
    pub clone: Option<Clone2>,
}

impl Properties {
    /// The same with `into`.
    #[must_use]
    pub fn into(mut self, value: i32) -> Self {
        self.into = Some(value);
        self
    }

    /// The same with `try_from`.
    #[must_use]
    pub fn try_from(mut self, value: impl Into<String>) -> Self {
        self.try_from = Some(value.into());
        self
    }

    /// The same with `clone`.
    #[must_use]
    pub fn clone(mut self, value: Clone2) -> Self {
        self.clone = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Properties {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            into: values.get_optional("into")?,
            try_from: values.get_optional("try_from")?,
            clone: values.get_optional("clone")?,
        })
    }
}

impl From<Properties> for value::Properties {
    fn from(given: Properties) -> Self {
        let mut values = Self::new();
        values.set_optional("into", given.into);
        values.set_optional("try_from", given.try_from);
        values.set_optional("clone", given.clone);
        values
    }
}

/// Values for properties that can be set. What is not there stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `into`.
    pub into: Option<i32>,
    /// `try_from`: at most 64 bytes of UTF-8.
    pub try_from: Option<String>,
    /// `clone`.
    pub clone: Option<Clone2>,
}

impl Settings {
    /// The same with `into`.
    #[must_use]
    pub fn into(mut self, value: i32) -> Self {
        self.into = Some(value);
        self
    }

    /// The same with `try_from`.
    #[must_use]
    pub fn try_from(mut self, value: impl Into<String>) -> Self {
        self.try_from = Some(value.into());
        self
    }

    /// The same with `clone`.
    #[must_use]
    pub fn clone(mut self, value: Clone2) -> Self {
        self.clone = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Settings {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            into: values.get_optional("into")?,
            try_from: values.get_optional("try_from")?,
            clone: values.get_optional("clone")?,
        })
    }
}

impl From<Settings> for value::Properties {
    fn from(given: Settings) -> Self {
        let mut values = Self::new();
        values.set_optional("into", given.into);
        values.set_optional("try_from", given.try_from);
        values.set_optional("clone", given.clone);
        values
    }
}

/// What the service `into` answers.
#[derive(Clone, Debug, PartialEq)]
pub struct IntoOutput {
    /// `into`.
    pub into: i32,
}

impl TryFrom<&value::Properties> for IntoOutput {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            into: values.get("into")?,
        })
    }
}

impl From<IntoOutput> for value::Properties {
    fn from(given: IntoOutput) -> Self {
        let mut values = Self::new();
        values.set("into", given.into);
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

    /// `into`.
    pub fn get_into(&self) -> Result<i32, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["into"])?;
        Ok(values.get("into")?)
    }

    /// `try_from`: at most 64 bytes of UTF-8.
    pub fn get_try_from(&self) -> Result<String, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["try_from"])?;
        Ok(values.get("try_from")?)
    }

    /// `clone`.
    pub fn get_clone(&self) -> Result<Clone2, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["clone"])?;
        Ok(values.get("clone")?)
    }

    /// Sets all of these, or none if the gateway refuses one. Grant: `things.write`.
    pub fn set(&self, settings: Settings) -> Result<(), Fault> {
        iot_data::set_thing_properties(PRODUCT_KEY, &self.name, settings)
    }

    /// `into`.
    pub fn set_into(&self, value: i32) -> Result<(), Fault> {
        self.set(Settings::default().into(value))
    }

    /// `try_from`: at most 64 bytes of UTF-8.
    pub fn set_try_from(&self, value: impl Into<String>) -> Result<(), Fault> {
        self.set(Settings::default().try_from(value))
    }

    /// `clone`.
    pub fn set_clone(&self, value: Clone2) -> Result<(), Fault> {
        self.set(Settings::default().clone(value))
    }

    /// `into`.
    ///
    /// Arguments:
    /// - `self_` is `self`.
    pub fn into(&self, self_: i32) -> Result<IntoOutput, Fault> {
        let mut arguments = value::Properties::new();
        arguments.set("self", self_);
        let outputs = iot_data::call_thing_service(PRODUCT_KEY, &self.name, "into", arguments)?;
        Ok(IntoOutput::try_from(&outputs)?)
    }

    /// `try_into`.
    pub fn try_into(&self) -> Result<(), Fault> {
        let arguments = value::Properties::new();
        iot_data::call_thing_service(PRODUCT_KEY, &self.name, "try_into", arguments).map(drop)
    }
}

/// `error`.
#[derive(Clone, Debug, PartialEq)]
pub struct Error2 {
    /// `from`.
    pub from: i32,
}

impl TryFrom<&value::Properties> for Error2 {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            from: values.get("from")?,
        })
    }
}

impl From<Error2> for value::Properties {
    fn from(given: Error2) -> Self {
        let mut values = Self::new();
        values.set("from", given.from);
        values
    }
}

/// What a route brings of a thing of this product.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A report of properties: those that it has.
    Report(Properties),
    /// `error`.
    Error(Error2),
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
            "error" => Self::Error(Error2::try_from(&message.outputs()?)?),
            other => return Err(format!("`{other}` is no event of `{id}` that this function knows").into()),
        };
        Ok((Thing::new(id.device_name), event))
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

    /// `error`.
    ///
    /// Arguments:
    /// - `from`.
    pub async fn error(&self, from: i32) -> Result<(), Fault> {
        let mut outputs = value::Properties::new();
        outputs.set("from", from);
        self.0.report_event("error", outputs).await
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

    /// `into`.
    ///
    /// Arguments:
    /// - `self_` is `self`.
    async fn into(&self, thing: &ThingId, self_: i32) -> Result<IntoOutput, Fault>;

    /// `try_into`.
    async fn try_into(&self, thing: &ThingId) -> Result<(), Fault>;

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
        let known = ["into", "try_from", "clone"];
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
            "into" => {
                let input_0 = arguments.get("self").map_err(wrong)?;
                Ok(value::Properties::from(Driver::into(&self.0, thing, input_0).await?))
            }
            "try_into" => {
                Driver::try_into(&self.0, thing).await?;
                Ok(value::Properties::new())
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

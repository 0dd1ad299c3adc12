//! Product `a1Lamp`: its properties, events and services as Rust types.
//!
//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.

#![allow(dead_code, unused_imports)]
#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
#![cfg_attr(rustfmt, rustfmt_skip)]

use ledge_sdk::{Error, Fault, ThingId, device, thing_access, value};

/// The key of the product.
pub const PRODUCT_KEY: &str = "a1Lamp";

// A deployment holds this against the product, and refuses the component where they do not fit.
ledge_sdk::product_uses!(r#"{"product":"a1Lamp","properties":{"Brightness":{"access":"rw","type":"int"},"Energy":{"access":"r","type":"double"},"Illuminance":{"access":"r","type":"float"},"Label":{"access":"rw","type":"text"},"Levels":{"access":"rw","type":{"array":"float"}},"LightSwitch":{"access":"rw","type":"bool"},"Mode":{"access":"rw","type":{"enum":[0,1,7]}},"Pin":{"access":"w","type":"text"},"Scene":{"access":"rw","type":{"array":{"struct":{"level":"int","on":"bool"}}}},"Since":{"access":"rw","type":"date"}},"events":{"overheated":{"outputs":{"since":"date","temperature":"int"}}},"services":{"blink":{"inputs":{"mode":{"type":{"enum":[0,1]},"required":false},"times":{"type":"int","required":true}},"outputs":{"done":"int"}}}}"#);

/// `Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Mode {
    /// `0`: day.
    Day = 0,
    /// `1`: night.
    Night = 1,
    /// `7`: off.
    Off = 7,
}

impl Mode {
    /// The member's number.
    pub fn number(self) -> i32 {
        self as i32
    }
}

impl TryFrom<&value::Value> for Mode {
    type Error = value::WrongType;

    fn try_from(value: &value::Value) -> Result<Self, value::WrongType> {
        match i32::try_from(value)? {
            0 => Ok(Self::Day),
            1 => Ok(Self::Night),
            7 => Ok(Self::Off),
            _ => Err(value::WrongType::new("Mode", value)),
        }
    }
}

impl From<Mode> for value::Value {
    fn from(member: Mode) -> Self {
        Self::Enumeration(member.number())
    }
}

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum BlinkMode {
    /// `0`: slow.
    Slow = 0,
    /// `1`: fast.
    Fast = 1,
}

impl BlinkMode {
    /// The member's number.
    pub fn number(self) -> i32 {
        self as i32
    }
}

impl TryFrom<&value::Value> for BlinkMode {
    type Error = value::WrongType;

    fn try_from(value: &value::Value) -> Result<Self, value::WrongType> {
        match i32::try_from(value)? {
            0 => Ok(Self::Slow),
            1 => Ok(Self::Fast),
            _ => Err(value::WrongType::new("BlinkMode", value)),
        }
    }
}

impl From<BlinkMode> for value::Value {
    fn from(member: BlinkMode) -> Self {
        Self::Enumeration(member.number())
    }
}

/// `Scene`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// `on`.
    pub on: bool,
    /// `level`: 0 to 255.
    pub level: i32,
}

impl TryFrom<&value::Properties> for Scene {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            on: values.get("on")?,
            level: values.get("level")?,
        })
    }
}

impl From<Scene> for value::Properties {
    fn from(given: Scene) -> Self {
        let mut values = Self::new();
        values.set("on", given.on);
        values.set("level", given.level);
        values
    }
}

impl TryFrom<&value::Value> for Scene {
    type Error = value::WrongType;

    fn try_from(value: &value::Value) -> Result<Self, value::WrongType> {
        let fields = value::Properties::try_from(value)?;
        Ok(Self::try_from(&fields)?)
    }
}

impl From<Scene> for value::Value {
    fn from(fields: Scene) -> Self {
        value::Properties::from(fields).into()
    }
}

/// A property that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// `LightSwitch`, 开关: `false` is 关, `true` is 开.
    LightSwitch,
    /// `Brightness`, 亮度: 0 to 600 lm, in steps of 5.
    Brightness,
    /// `Illuminance`: 0 to 1000.1, in steps of 0.1.
    Illuminance,
    /// `Energy`: 0 to 1000000000000.
    Energy,
    /// `Mode`.
    Mode,
    /// `Label`: at most 12 bytes of UTF-8.
    Label,
    /// `Since`.
    Since,
    /// `Levels`: at most 3 items.
    Levels,
    /// `Scene`: at most 2 items.
    Scene,
}

impl Property {
    /// All of them, in the order of the TSL.
    pub const ALL: &[Self] = &[
        Self::LightSwitch,
        Self::Brightness,
        Self::Illuminance,
        Self::Energy,
        Self::Mode,
        Self::Label,
        Self::Since,
        Self::Levels,
        Self::Scene,
    ];

    /// As the TSL spells it.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::LightSwitch => "LightSwitch",
            Self::Brightness => "Brightness",
            Self::Illuminance => "Illuminance",
            Self::Energy => "Energy",
            Self::Mode => "Mode",
            Self::Label => "Label",
            Self::Since => "Since",
            Self::Levels => "Levels",
            Self::Scene => "Scene",
        }
    }

    /// The one that the TSL spells so.
    pub fn of(identifier: &str) -> Option<Self> {
        match identifier {
            "LightSwitch" => Some(Self::LightSwitch),
            "Brightness" => Some(Self::Brightness),
            "Illuminance" => Some(Self::Illuminance),
            "Energy" => Some(Self::Energy),
            "Mode" => Some(Self::Mode),
            "Label" => Some(Self::Label),
            "Since" => Some(Self::Since),
            "Levels" => Some(Self::Levels),
            "Scene" => Some(Self::Scene),
            _ => None,
        }
    }
}

/// Values of properties that can be read. Each is there or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// `LightSwitch`, 开关: `false` is 关, `true` is 开.
    pub light_switch: Option<bool>,
    /// `Brightness`, 亮度: 0 to 600 lm, in steps of 5.
    pub brightness: Option<i32>,
    /// `Illuminance`: 0 to 1000.1, in steps of 0.1.
    pub illuminance: Option<f32>,
    /// `Energy`: 0 to 1000000000000.
    pub energy: Option<f64>,
    /// `Mode`.
    pub mode: Option<Mode>,
    /// `Label`: at most 12 bytes of UTF-8.
    pub label: Option<String>,
    /// `Since`.
    pub since: Option<value::Date>,
    /// `Levels`: at most 3 items.
    pub levels: Option<Vec<f32>>,
    /// `Scene`: at most 2 items.
    pub scene: Option<Vec<Scene>>,
}

impl Properties {
    /// The same with `LightSwitch`.
    #[must_use]
    pub fn light_switch(mut self, value: bool) -> Self {
        self.light_switch = Some(value);
        self
    }

    /// The same with `Brightness`.
    #[must_use]
    pub fn brightness(mut self, value: i32) -> Self {
        self.brightness = Some(value);
        self
    }

    /// The same with `Illuminance`.
    #[must_use]
    pub fn illuminance(mut self, value: f32) -> Self {
        self.illuminance = Some(value);
        self
    }

    /// The same with `Energy`.
    #[must_use]
    pub fn energy(mut self, value: f64) -> Self {
        self.energy = Some(value);
        self
    }

    /// The same with `Mode`.
    #[must_use]
    pub fn mode(mut self, value: Mode) -> Self {
        self.mode = Some(value);
        self
    }

    /// The same with `Label`.
    #[must_use]
    pub fn label(mut self, value: impl Into<String>) -> Self {
        self.label = Some(value.into());
        self
    }

    /// The same with `Since`.
    #[must_use]
    pub fn since(mut self, value: value::Date) -> Self {
        self.since = Some(value);
        self
    }

    /// The same with `Levels`.
    #[must_use]
    pub fn levels(mut self, value: Vec<f32>) -> Self {
        self.levels = Some(value);
        self
    }

    /// The same with `Scene`.
    #[must_use]
    pub fn scene(mut self, value: Vec<Scene>) -> Self {
        self.scene = Some(value);
        self
    }
}

impl TryFrom<&value::Properties> for Properties {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            light_switch: values.get_optional("LightSwitch")?,
            brightness: values.get_optional("Brightness")?,
            illuminance: values.get_optional("Illuminance")?,
            energy: values.get_optional("Energy")?,
            mode: values.get_optional("Mode")?,
            label: values.get_optional("Label")?,
            since: values.get_optional("Since")?,
            levels: values.get_optional("Levels")?,
            scene: values.get_optional("Scene")?,
        })
    }
}

impl From<Properties> for value::Properties {
    fn from(given: Properties) -> Self {
        let mut values = Self::new();
        values.set_optional("LightSwitch", given.light_switch);
        values.set_optional("Brightness", given.brightness);
        values.set_optional("Illuminance", given.illuminance);
        values.set_optional("Energy", given.energy);
        values.set_optional("Mode", given.mode);
        values.set_optional("Label", given.label);
        values.set_optional("Since", given.since);
        values.set_optional("Levels", given.levels);
        values.set_optional("Scene", given.scene);
        values
    }
}

/// Values for properties that can be set. What is not there stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `LightSwitch`, 开关: `false` is 关, `true` is 开.
    pub light_switch: Option<bool>,
    /// `Brightness`, 亮度: 0 to 600 lm, in steps of 5.
    pub brightness: Option<i32>,
    /// `Mode`.
    pub mode: Option<Mode>,
    /// `Label`: at most 12 bytes of UTF-8.
    pub label: Option<String>,
    /// `Since`.
    pub since: Option<value::Date>,
    /// `Levels`: at most 3 items.
    pub levels: Option<Vec<f32>>,
    /// `Scene`: at most 2 items.
    pub scene: Option<Vec<Scene>>,
    /// `Pin`: at most 4 bytes of UTF-8.
    pub pin: Option<String>,
}

impl Settings {
    /// The same with `LightSwitch`.
    #[must_use]
    pub fn light_switch(mut self, value: bool) -> Self {
        self.light_switch = Some(value);
        self
    }

    /// The same with `Brightness`.
    #[must_use]
    pub fn brightness(mut self, value: i32) -> Self {
        self.brightness = Some(value);
        self
    }

    /// The same with `Mode`.
    #[must_use]
    pub fn mode(mut self, value: Mode) -> Self {
        self.mode = Some(value);
        self
    }

    /// The same with `Label`.
    #[must_use]
    pub fn label(mut self, value: impl Into<String>) -> Self {
        self.label = Some(value.into());
        self
    }

    /// The same with `Since`.
    #[must_use]
    pub fn since(mut self, value: value::Date) -> Self {
        self.since = Some(value);
        self
    }

    /// The same with `Levels`.
    #[must_use]
    pub fn levels(mut self, value: Vec<f32>) -> Self {
        self.levels = Some(value);
        self
    }

    /// The same with `Scene`.
    #[must_use]
    pub fn scene(mut self, value: Vec<Scene>) -> Self {
        self.scene = Some(value);
        self
    }

    /// The same with `Pin`.
    #[must_use]
    pub fn pin(mut self, value: impl Into<String>) -> Self {
        self.pin = Some(value.into());
        self
    }
}

impl TryFrom<&value::Properties> for Settings {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            light_switch: values.get_optional("LightSwitch")?,
            brightness: values.get_optional("Brightness")?,
            mode: values.get_optional("Mode")?,
            label: values.get_optional("Label")?,
            since: values.get_optional("Since")?,
            levels: values.get_optional("Levels")?,
            scene: values.get_optional("Scene")?,
            pin: values.get_optional("Pin")?,
        })
    }
}

impl From<Settings> for value::Properties {
    fn from(given: Settings) -> Self {
        let mut values = Self::new();
        values.set_optional("LightSwitch", given.light_switch);
        values.set_optional("Brightness", given.brightness);
        values.set_optional("Mode", given.mode);
        values.set_optional("Label", given.label);
        values.set_optional("Since", given.since);
        values.set_optional("Levels", given.levels);
        values.set_optional("Scene", given.scene);
        values.set_optional("Pin", given.pin);
        values
    }
}

/// What the service `blink` answers.
#[derive(Clone, Debug, PartialEq)]
pub struct BlinkOutput {
    /// `done`.
    pub done: i32,
}

impl TryFrom<&value::Properties> for BlinkOutput {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            done: values.get("done")?,
        })
    }
}

impl From<BlinkOutput> for value::Properties {
    fn from(given: BlinkOutput) -> Self {
        let mut values = Self::new();
        values.set("done", given.done);
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

    /// `overheated`, 过热.
    ///
    /// Arguments:
    /// - `temperature`, t: 0 to 300.
    /// - `since`, s.
    pub async fn overheated(&self, temperature: i32, since: value::Date) -> Result<(), Fault> {
        let mut outputs = value::Properties::new();
        outputs.set("temperature", temperature);
        outputs.set("since", since);
        self.0.report_event("overheated", outputs).await
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

    /// `blink`, 闪.
    ///
    /// Arguments:
    /// - `times`: 1 to 10, in steps of 1.
    /// - `mode`.
    async fn blink(&self, thing: &ThingId, times: i32, mode: Option<BlinkMode>) -> Result<BlinkOutput, Fault>;

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
        let known = ["LightSwitch", "Brightness", "Mode", "Label", "Since", "Levels", "Scene", "Pin"];
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
            "blink" => {
                let input_0 = arguments.get("times").map_err(wrong)?;
                let input_1 = arguments.get_optional("mode").map_err(wrong)?;
                Ok(value::Properties::from(Driver::blink(&self.0, thing, input_0, input_1).await?))
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

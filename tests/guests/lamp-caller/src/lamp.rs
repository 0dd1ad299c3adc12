//! Product `a1Lamp`: its properties, events and services as Rust types.
//!
//! Written by `ledge bindgen`. Where the product has changed, write it again; what is changed here is lost then.

#![allow(dead_code, unused_imports)]
#![allow(clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait)]
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
#![cfg_attr(rustfmt, rustfmt_skip)]

use ledge_sdk::handler::RoutedMessage;
use ledge_sdk::{Error, Fault, iot_data, value};

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

    /// `LightSwitch`, 开关: `false` is 关, `true` is 开.
    pub fn get_light_switch(&self) -> Result<bool, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["LightSwitch"])?;
        Ok(values.get("LightSwitch")?)
    }

    /// `Brightness`, 亮度: 0 to 600 lm, in steps of 5.
    pub fn get_brightness(&self) -> Result<i32, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Brightness"])?;
        Ok(values.get("Brightness")?)
    }

    /// `Illuminance`: 0 to 1000.1, in steps of 0.1.
    pub fn get_illuminance(&self) -> Result<f32, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Illuminance"])?;
        Ok(values.get("Illuminance")?)
    }

    /// `Energy`: 0 to 1000000000000.
    pub fn get_energy(&self) -> Result<f64, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Energy"])?;
        Ok(values.get("Energy")?)
    }

    /// `Mode`.
    pub fn get_mode(&self) -> Result<Mode, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Mode"])?;
        Ok(values.get("Mode")?)
    }

    /// `Label`: at most 12 bytes of UTF-8.
    pub fn get_label(&self) -> Result<String, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Label"])?;
        Ok(values.get("Label")?)
    }

    /// `Since`.
    pub fn get_since(&self) -> Result<value::Date, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Since"])?;
        Ok(values.get("Since")?)
    }

    /// `Levels`: at most 3 items.
    pub fn get_levels(&self) -> Result<Vec<f32>, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Levels"])?;
        Ok(values.get("Levels")?)
    }

    /// `Scene`: at most 2 items.
    pub fn get_scene(&self) -> Result<Vec<Scene>, Fault> {
        let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &["Scene"])?;
        Ok(values.get("Scene")?)
    }

    /// Sets all of these, or none if the gateway refuses one. Grant: `things.write`.
    pub fn set(&self, settings: Settings) -> Result<(), Fault> {
        iot_data::set_thing_properties(PRODUCT_KEY, &self.name, settings)
    }

    /// `LightSwitch`, 开关: `false` is 关, `true` is 开.
    pub fn set_light_switch(&self, value: bool) -> Result<(), Fault> {
        self.set(Settings::default().light_switch(value))
    }

    /// `Brightness`, 亮度: 0 to 600 lm, in steps of 5.
    pub fn set_brightness(&self, value: i32) -> Result<(), Fault> {
        self.set(Settings::default().brightness(value))
    }

    /// `Mode`.
    pub fn set_mode(&self, value: Mode) -> Result<(), Fault> {
        self.set(Settings::default().mode(value))
    }

    /// `Label`: at most 12 bytes of UTF-8.
    pub fn set_label(&self, value: impl Into<String>) -> Result<(), Fault> {
        self.set(Settings::default().label(value))
    }

    /// `Since`.
    pub fn set_since(&self, value: value::Date) -> Result<(), Fault> {
        self.set(Settings::default().since(value))
    }

    /// `Levels`: at most 3 items.
    pub fn set_levels(&self, value: Vec<f32>) -> Result<(), Fault> {
        self.set(Settings::default().levels(value))
    }

    /// `Scene`: at most 2 items.
    pub fn set_scene(&self, value: Vec<Scene>) -> Result<(), Fault> {
        self.set(Settings::default().scene(value))
    }

    /// `Pin`: at most 4 bytes of UTF-8.
    pub fn set_pin(&self, value: impl Into<String>) -> Result<(), Fault> {
        self.set(Settings::default().pin(value))
    }

    /// `blink`, 闪.
    ///
    /// Arguments:
    /// - `times`: 1 to 10, in steps of 1.
    /// - `mode`.
    pub fn blink(&self, times: i32, mode: Option<BlinkMode>) -> Result<BlinkOutput, Fault> {
        let mut arguments = value::Properties::new();
        arguments.set("times", times);
        arguments.set_optional("mode", mode);
        let outputs = iot_data::call_thing_service(PRODUCT_KEY, &self.name, "blink", arguments)?;
        Ok(BlinkOutput::try_from(&outputs)?)
    }
}

/// `overheated`, 过热.
#[derive(Clone, Debug, PartialEq)]
pub struct Overheated {
    /// `temperature`, t: 0 to 300.
    pub temperature: i32,
    /// `since`, s.
    pub since: value::Date,
}

impl TryFrom<&value::Properties> for Overheated {
    type Error = value::ValueError;

    fn try_from(values: &value::Properties) -> Result<Self, value::ValueError> {
        Ok(Self {
            temperature: values.get("temperature")?,
            since: values.get("since")?,
        })
    }
}

impl From<Overheated> for value::Properties {
    fn from(given: Overheated) -> Self {
        let mut values = Self::new();
        values.set("temperature", given.temperature);
        values.set("since", given.since);
        values
    }
}

/// What a route brings of a thing of this product.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A report of properties: those that it has.
    Report(Properties),
    /// `overheated`, 过热.
    Overheated(Overheated),
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
            "overheated" => Self::Overheated(Overheated::try_from(&message.outputs()?)?),
            other => return Err(format!("`{other}` is no event of `{id}` that this function knows").into()),
        };
        Ok((Thing::new(id.device_name), event))
    }
}

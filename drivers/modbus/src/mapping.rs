//! Which registers or coils stand for which property: the TSL's extension, read once for each product.
//!
//! Those of services are in `service`. A property or service whose mapping is wrong is left out, with the reason. The keys are told in README.md.

pub mod service;

use std::time::Duration;

use ledge_sdk::serde_json::{self, Value as Json};

use crate::config::INTERVAL_MS;
use crate::fields::Fields;
use crate::layout::{Bits, Kind, Layout};
use crate::mapping::service::Service;
use crate::model::{self, Model, Property};

/// The four tables of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    Coil,
    Discrete,
    Holding,
    Input,
}

/// When a value is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Report {
    /// Whenever it is read.
    Periodic,
    /// When it differs from what was reported last by more than this.
    Change { dead_band: f64 },
}

/// The function that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBy {
    /// 5 or 6, and 15 or 16 for several neighbours in one call.
    Usual,
    /// 5 or 6, one by one.
    Single,
    /// 15 or 16.
    Multiple,
    /// 22, for bit fields.
    Mask,
    /// 23: the device says what it has then.
    ReadBack,
}

/// One property in its place, or one parameter of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub identifier: String,
    /// Whether it is read of the driver's own accord: a service's output only with a call.
    pub is_readable: bool,
    pub is_writable: bool,
    pub model: Model,
    pub area: Area,
    pub address: u16,
    pub layout: Layout,
    pub report: Report,
    pub interval: Option<Duration>,
    pub write_by: WriteBy,
}

/// What is mapped of a product, and what is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    pub points: Vec<Point>,
    pub services: Vec<Service>,
    /// How many properties of the TSL can be read, mapped or not.
    readable: usize,
    /// A property or service and the reason.
    pub problems: Vec<(String, String)>,
}

const KEYS: [&str; 15] = [
    "area",
    "address",
    "type",
    "length",
    "swap_bytes",
    "swap_registers",
    "scale",
    "offset",
    "bits",
    "date_in",
    "report",
    "dead_band",
    "interval_ms",
    "write_function",
    "note",
];
/// What one value may have: every function can carry it, in one request.
const REGISTERS_MAX: u16 = 120;
const AREAS: [&str; 4] = ["coil", "discrete", "holding", "input"];
const KINDS: [&str; 10] = ["bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"];

/// The mapping of a product by its TSL and its extension. An error: nothing at all can be taken from it.
pub fn read(tsl: &str, extension: &str) -> Result<Mapping, String> {
    let parse = |what: &str, text: &str| serde_json::from_str::<Json>(text).map_err(|error| format!("the {what} is not JSON: {error}"));
    let (tsl, extension) = (parse("TSL", tsl)?, parse("TSL extension", extension)?);
    let Some(entries) = extension["properties"].as_array() else {
        return Err("the TSL extension has no list `properties`".into());
    };
    let properties = model::properties(&tsl);
    let readable = properties.iter().filter(|property| property.is_readable).count();
    let mut mapping = Mapping { readable, ..Mapping::default() };
    for (at, entry) in entries.iter().enumerate() {
        let identifier = entry["identifier"].as_str().map_or_else(|| format!("properties[{at}]"), str::to_owned);
        let is_known = mapping.points.iter().any(|point| point.identifier == identifier);
        let found = properties.iter().find(|property| property.identifier == identifier);
        let point = match found {
            _ if is_known => Err("it is mapped twice".into()),
            Some(property) => Fields::of_customize(&entry["customize"], &KEYS).and_then(|fields| point(property, &fields)),
            None => Err("the TSL has no such property".into()),
        };
        match point {
            Ok(point) => mapping.points.push(point),
            Err(reason) => mapping.problems.push((format!("property `{identifier}`"), reason)),
        }
    }
    mapping.read_services(&model::services(&tsl), &extension["services"]);
    Ok(mapping)
}

fn point(property: &Property, fields: &Fields) -> Result<Point, String> {
    let model = property.model.clone()?;
    let area = area(fields)?;
    let layout = layout(fields, area, &model)?;
    let point = Point {
        identifier: property.identifier.clone(),
        is_readable: property.is_readable,
        is_writable: property.is_writable,
        area,
        address: fields.whole("address", 0..=u16::MAX)?.ok_or("`address` is missing")?,
        report: report(fields, &model)?,
        interval: fields.whole("interval_ms", INTERVAL_MS)?.map(Duration::from_millis),
        write_by: write_by(fields, area, &layout)?,
        model,
        layout,
    };
    if u32::from(point.address) + u32::from(point.length()) > 1 << 16 {
        return Err(format!("its {} registers from {} go beyond 65535, the last address", point.length(), point.address));
    }
    if point.is_writable && matches!(area, Area::Discrete | Area::Input) {
        return Err("the TSL says that it can be set, and a device's inputs cannot".into());
    }
    Ok(point)
}

fn area(fields: &Fields) -> Result<Area, String> {
    let word = fields.word("area", &AREAS)?.ok_or_else(|| format!("`area` is missing; expected one of {}", AREAS.join(", ")))?;
    Ok(match word.as_str() {
        "coil" => Area::Coil,
        "discrete" => Area::Discrete,
        "holding" => Area::Holding,
        _ => Area::Input,
    })
}

fn layout(fields: &Fields, area: Area, model: &Model) -> Result<Layout, String> {
    let bits = fields.get("bits").map(bits).transpose()?;
    let layout = Layout {
        kind: kind(fields, area, model, bits.is_some())?,
        items: model.items(),
        bits,
        swap_bytes: fields.flag("swap_bytes")?.unwrap_or(false),
        swap_registers: fields.flag("swap_registers")?.unwrap_or(false),
        scale: fields.number("scale")?.unwrap_or(1.0),
        offset: fields.number("offset")?.unwrap_or(0.0),
    };
    let is_scaled = layout.scale != 1.0 || layout.offset != 0.0;
    if layout.scale == 0.0 {
        return Err("`scale` is 0, which makes every value the same".into());
    }
    if is_scaled && !model.is_number() && model.items().is_none() {
        return Err("`scale` and `offset` are for the TSL's int, float and double, and arrays of them".into());
    }
    if layout.kind.is_text() != model.is_text() {
        return Err("the TSL's `text` has the type `string` here, or `int64` or `uint64`; and nothing else is a `string`".into());
    }
    if area.is_of_bits() && (layout.kind != Kind::Bool || bits.is_some() || layout.swap_bytes || layout.swap_registers) {
        return Err("a coil or a discrete input is one bit: it has no other `type` than `bool`, no `bits` and no order".into());
    }
    if bits.is_some() && layout.kind != Kind::Uint16 {
        return Err("`bits` are of one register: `type` is `uint16`, or absent".into());
    }
    if layout.items.is_some() && (area.is_of_bits() || bits.is_some() || layout.kind == Kind::Bool) {
        return Err("an array is of registers: it is not of coils, `bits` or `bool`".into());
    }
    if layout.registers() > REGISTERS_MAX {
        return Err(format!("it has {} registers, and one request carries {REGISTERS_MAX}", layout.registers()));
    }
    match date_scale(fields, model, layout.kind)? {
        Some(scale) => Ok(Layout { scale, ..layout }),
        None => Ok(layout),
    }
}

/// Dates are in milliseconds from here on: how many of them the registers count in.
fn date_scale(fields: &Fields, model: &Model, kind: Kind) -> Result<Option<f64>, String> {
    let word = fields.word("date_in", &["s", "ms"])?;
    match (model, kind, word.as_deref()) {
        (Model::Date, Kind::Int32 | Kind::Uint32, Some("ms")) => {
            Err("32 bits hold no date in milliseconds: `date_in` is `s`, or absent".into())
        }
        (Model::Date, Kind::Int32 | Kind::Uint32, _) | (Model::Date, Kind::Int64 | Kind::Uint64, Some("s")) => Ok(Some(1_000.0)),
        (Model::Date, Kind::Int64 | Kind::Uint64, _) => Ok(None),
        (Model::Date, ..) => Err("the TSL's `date` has the type `int32`, `uint32`, `int64` or `uint64` here".into()),
        (_, _, Some(_)) => Err("`date_in` is for the TSL's date".into()),
        _ => Ok(None),
    }
}

fn kind(fields: &Fields, area: Area, model: &Model, has_bits: bool) -> Result<Kind, String> {
    let usual = match model {
        _ if area.is_of_bits() => "bool",
        Model::Date => "uint32",
        _ => "uint16",
    };
    let word = fields.word("type", &KINDS)?.unwrap_or_else(|| usual.into());
    let length = fields.whole("length", 1..=REGISTERS_MAX)?;
    if word != "string" && length.is_some() {
        return Err("`length` counts the registers of a `string`".into());
    }
    Ok(match word.as_str() {
        "bool" if has_bits => Kind::Uint16,
        "bool" => Kind::Bool,
        "int16" => Kind::Int16,
        "uint16" => Kind::Uint16,
        "int32" => Kind::Int32,
        "uint32" => Kind::Uint32,
        "int64" if model.is_text() => Kind::Digits { is_signed: true },
        "uint64" if model.is_text() => Kind::Digits { is_signed: false },
        "int64" => Kind::Int64,
        "uint64" => Kind::Uint64,
        "float32" => Kind::Float32,
        "float64" => Kind::Float64,
        _ => Kind::Text { registers: length.ok_or("a `string` needs `length`, the number of its registers")? },
    })
}

/// `{"offset": 4, "count": 3}`; one bit unless `count` is given.
fn bits(json: &Json) -> Result<Bits, String> {
    let read = || {
        let fields = Fields::new(json, &["offset", "count"])?;
        let offset = fields.whole("offset", 0..=15_u8)?.ok_or("`offset` is missing")?;
        let count = fields.whole("count", 1..=16_u8)?.unwrap_or(1);
        if offset + count > 16 {
            return Err(format!("{count} bits from bit {offset} go beyond the register's 16"));
        }
        Ok(Bits { offset, count })
    };
    read().map_err(|wrong: String| format!("`bits`: {wrong}"))
}

fn report(fields: &Fields, model: &Model) -> Result<Report, String> {
    let word = fields.word("report", &["periodic", "change"])?;
    let dead_band = fields.number("dead_band")?;
    match (word.as_deref(), dead_band) {
        (Some("change"), Some(dead_band)) if dead_band < 0.0 => Err(format!("`dead_band` is {dead_band}, which is below 0")),
        (Some("change"), Some(_)) if !model.is_number() => Err("`dead_band` is for the TSL's int, float and double".into()),
        (Some("change"), dead_band) => Ok(Report::Change { dead_band: dead_band.unwrap_or(0.0) }),
        (_, Some(_)) => Err("`dead_band` goes with `report`: `change`".into()),
        (_, None) => Ok(Report::Periodic),
    }
}

fn write_by(fields: &Fields, area: Area, layout: &Layout) -> Result<WriteBy, String> {
    let Some(function) = fields.whole("write_function", 1..=23_u8)? else {
        return Ok(if layout.bits.is_some() { WriteBy::Mask } else { WriteBy::Usual });
    };
    let (is_field, registers) = (layout.bits.is_some(), layout.registers());
    match (area, function) {
        (Area::Coil, 5) => Ok(WriteBy::Single),
        (Area::Coil, 15) | (Area::Holding, 16) => Ok(WriteBy::Multiple),
        (Area::Holding, 6) if registers == 1 => Ok(WriteBy::Single),
        (Area::Holding, 22) if is_field => Ok(WriteBy::Mask),
        (Area::Holding, 23) if !is_field => Ok(WriteBy::ReadBack),
        _ => Err(format!(
            "`write_function` {function} does not write it: 5 and 15 are for coils, 6 for one holding register, 16 and 23 for several, 22 for `bits`"
        )),
    }
}

impl Mapping {
    /// The number of a point.
    pub fn find(&self, identifier: &str) -> Option<usize> {
        self.points.iter().position(|point| point.identifier == identifier)
    }

    /// Whether somebody has asked for these by their names. The gateway asks for all that can be read where nobody has named any.
    pub fn are_named(&self, identifiers: &[String]) -> bool {
        identifiers.len() < self.readable
    }
}

impl Area {
    pub fn is_of_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

impl Point {
    /// How many addresses it has.
    pub fn length(&self) -> u16 {
        if self.area.is_of_bits() { 1 } else { self.layout.registers() }
    }
}

#[cfg(test)]
mod tests;

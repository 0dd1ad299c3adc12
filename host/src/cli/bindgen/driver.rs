//! What drivers have of a product: a registered thing that reports, the trait of what a driver does, and the component of such a driver.
//!
//! A product may give its own names to the methods (`into`, `try_from`), so what is written calls none that they could hide: it names the
//! trait.

use super::function::arguments;
use super::model::{Event, Model, Property, Service};
use super::rust::{given, listed, taken};
use super::text::Text;

pub fn write(model: &Model, readable: &[&Property], writable: &[&Property], text: &mut Text) {
    registered(model, !readable.is_empty(), text);
    driver(model, !readable.is_empty(), !writable.is_empty(), text);
    text.gap();
    text.lines(&[
        "/// The component of such a driver: `ledge_sdk::driver!(product::Component<MyDriver>);`. A driver of several products has one of each,",
        "/// and hands each call to that of its product.",
        "#[derive(Debug, Default)]",
        "pub struct Component<D>(pub D);",
        "",
        "impl<D: Driver> device::Driver for Component<D> {",
        "async fn run(&self) -> Result<(), Error> {",
        "Driver::run(&self.0).await",
        "}",
    ]);
    get(!readable.is_empty(), text);
    if !writable.is_empty() {
        set(writable, text);
    }
    if !model.services.is_empty() {
        call(&model.services, text);
    }
    text.lines(&[
        "",
        "async fn config_changed(&self, config: thing_access::DriverConfig) -> Result<(), Fault> {",
        "Driver::config_changed(&self.0, config).await",
        "}",
        "}",
    ]);
}

fn registered(model: &Model, has_reports: bool, text: &mut Text) {
    text.gap();
    text.lines(&[
        "/// A thing of this product, as its driver has it. Dropping it takes the thing offline.",
        "#[derive(Debug)]",
        "pub struct Registered(thing_access::Thing);",
        "",
        "impl Registered {",
        "/// Registers a device of the driver's configuration. Faults: 100001 (it is of another product), 109000.",
        "pub async fn register(device: &thing_access::DeviceInfo) -> Result<Self, Fault> {",
        "if device.product_key != PRODUCT_KEY {",
        "let name = format!(\"{}/{}\", device.product_key, device.device_name);",
        "let message = format!(\"`{name}` is no thing of product `{PRODUCT_KEY}`\");",
        "return Err(Fault::new(Fault::INVALID_PARAM, message));",
        "}",
        "Ok(Self(thing_access::Thing::register(device).await?))",
        "}",
        "",
        "/// The names by which calls of the driver ask for it.",
        "pub fn id(&self) -> ThingId {",
        "self.0.id()",
        "}",
        "",
        "/// The thing, for what has nothing to do with its product.",
        "pub fn thing(&self) -> &thing_access::Thing {",
        "&self.0",
        "}",
    ]);
    if has_reports {
        text.lines(&[
            "",
            "/// Reports values, as of now. Where some are refused the others are kept. Faults: those of `Thing::report_properties`.",
            "pub async fn report(&self, values: Properties) -> Result<(), Fault> {",
            "self.0.report_properties(values).await",
            "}",
        ]);
    }
    for event in &model.events {
        let Event { identifier, docs, method, outputs, .. } = event;
        text.gap();
        text.docs(docs);
        arguments(&outputs.members, text);
        text.line(&format!("pub async fn {method}(&self{}) -> Result<(), Fault> {{", given(&outputs.members)));
        listed("outputs", &outputs.members, text);
        text.line(&format!("self.0.report_event(\"{identifier}\", outputs).await"));
        text.line("}");
    }
    text.line("}");
}

fn driver(model: &Model, has_readable: bool, has_writable: bool, text: &mut Text) {
    text.gap();
    text.lines(&[
        "/// A driver of things of this product: `ledge_sdk::device::Driver` with types.",
        "#[allow(async_fn_in_trait, reason = \"a component has one thread, so no future needs to be Send\")]",
        "pub trait Driver: Default + 'static {",
        "/// The driver's life, as in `ledge_sdk::device::Driver`.",
        "async fn run(&self) -> Result<(), Error>;",
    ]);
    if has_readable {
        text.lines(&[
            "",
            "/// The current values of these properties, of which there is one at least. What is not wanted is left away.",
            "async fn get(&self, thing: &ThingId, wanted: &[Property]) -> Result<Properties, Fault>;",
        ]);
    }
    if has_writable {
        text.lines(&[
            "",
            "/// Sets those that are there.",
            "async fn set(&self, thing: &ThingId, settings: Settings) -> Result<(), Fault>;",
        ]);
    }
    for Service { docs, driver_method, inputs, outputs, .. } in &model.services {
        let answers = if outputs.members.is_empty() { "()" } else { &outputs.name };
        text.gap();
        text.docs(docs);
        arguments(inputs, text);
        let taken = taken(inputs);
        text.line(&format!("async fn {driver_method}(&self, thing: &ThingId{taken}) -> Result<{answers}, Fault>;"));
    }
    text.lines(&[
        "",
        "/// The configuration, or the list of devices, was changed while the driver runs. A driver that takes it over answers `Ok`; one that",
        "/// does not is started again with it, and so it is unless this is given.",
        "async fn config_changed(&self, config: thing_access::DriverConfig) -> Result<(), Fault> {",
        "let _ = config;",
        "Err(Fault::new(Fault::UNKNOWN, \"the driver takes changes of its configuration up when it starts\"))",
        "}",
        "}",
    ]);
}

/// A driver may be asked for properties that its product has and this module does not: they stay away, as others do that a driver does not
/// have, but for a call that asks for nothing else.
fn get(has_readable: bool, text: &mut Text) {
    let parameters = "&self, thing: &ThingId, identifiers: Vec<String>";
    text.gap();
    text.line(&format!("async fn get_properties({parameters}) -> Result<value::Properties, Fault> {{"));
    let unknown = "let message = format!(\"the driver of `{thing}` does not know {}\", identifiers.join(\", \"));";
    let refuse = "Err(Fault::new(Fault::PROPERTY_NOT_EXIST, message))";
    if has_readable {
        text.line("let wanted: Vec<Property> = identifiers.iter().filter_map(|identifier| Property::of(identifier)).collect();");
        text.line("if wanted.is_empty() {");
        text.line(unknown);
        text.line(&format!("return {refuse};"));
        text.line("}");
        text.line("Ok(value::Properties::from(Driver::get(&self.0, thing, &wanted).await?))");
    } else {
        text.lines(&[unknown, refuse]);
    }
    text.line("}");
}

fn set(writable: &[&Property], text: &mut Text) {
    let known: Vec<String> = writable.iter().map(|property| format!("\"{}\"", property.member.identifier)).collect();
    text.gap();
    text.lines(&["async fn set_properties(", "&self,", "thing: &ThingId,", "properties: value::Properties,", ") -> Result<(), Fault> {"]);
    text.line(&format!("let known = [{}];", known.join(", ")));
    text.lines(&[
        "if let Some(other) = properties.iter().find(|property| !known.contains(&property.identifier.as_str())) {",
        "let message = format!(\"the driver of `{thing}` does not know `{}`\", other.identifier);",
        "return Err(Fault::new(Fault::PROPERTY_NOT_EXIST, message));",
        "}",
        "let settings = <Settings as TryFrom<&value::Properties>>::try_from(&properties)?;",
        "Driver::set(&self.0, thing, settings).await",
        "}",
    ]);
}

fn call(services: &[Service], text: &mut Text) {
    let has_inputs = services.iter().any(|service| !service.inputs.is_empty());
    text.gap();
    text.lines(&[
        "async fn call_service(",
        "&self,",
        "thing: &ThingId,",
        "service: &str,",
        if has_inputs { "arguments: value::Properties," } else { "_: value::Properties," },
        ") -> Result<value::Properties, Fault> {",
    ]);
    if has_inputs {
        text.line("let wrong = |error: value::ValueError| {");
        text.line("Fault::new(Fault::SERVICE_INPUT_PARAM, format!(\"service `{service}`: {error}\"))");
        text.line("};");
    }
    text.line("match service {");
    for Service { identifier, driver_method, inputs, outputs, .. } in services {
        text.line(&format!("\"{identifier}\" => {{"));
        // Not by their names: two would hide one another.
        for (place, input) in inputs.iter().enumerate() {
            let get = if input.is_optional { "get_optional" } else { "get" };
            text.line(&format!("let input_{place} = arguments.{get}(\"{}\").map_err(wrong)?;", input.identifier));
        }
        let given: String = (0..inputs.len()).map(|place| format!(", input_{place}")).collect();
        let call = format!("Driver::{driver_method}(&self.0, thing{given}).await");
        if outputs.members.is_empty() {
            text.line(&format!("{call}?;"));
            text.line("Ok(value::Properties::new())");
        } else {
            text.line(&format!("Ok(value::Properties::from({call}?))"));
        }
        text.line("}");
    }
    text.lines(&[
        "_ => {",
        "let message = format!(\"the driver of `{thing}` has no service `{service}`\");",
        "Err(Fault::new(Fault::SERVICE_NOT_EXIST, message))",
        "}",
        "}",
        "}",
    ]);
}

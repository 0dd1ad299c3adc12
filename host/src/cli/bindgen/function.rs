//! What functions have of a product: a handle of a thing, and the events that routes bring.

use super::model::{Event, Model, Property, Service};
use super::rust::{given, given_type, listed, record};
use super::text::Text;

pub fn write(model: &Model, readable: &[&Property], writable: &[&Property], text: &mut Text) {
    text.gap();
    text.lines(&[
        "/// A thing of this product, as functions have it. What a call needs of grants, and its faults, are those of",
        "/// `ledge_sdk::iot_data`.",
        "#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]",
        "pub struct Thing {",
        "name: String,",
        "}",
        "",
        "impl Thing {",
        "/// The thing of that device name, whether there is one or not.",
        "pub fn new(name: impl Into<String>) -> Self {",
        "Self { name: name.into() }",
        "}",
        "",
        "/// Its device name.",
        "pub fn name(&self) -> &str {",
        "&self.name",
        "}",
    ]);
    if !readable.is_empty() {
        get(readable, text);
    }
    if !writable.is_empty() {
        set(writable, text);
    }
    model.services.iter().for_each(|service| call(service, text));
    text.line("}");
    if !readable.is_empty() || !model.events.is_empty() {
        events(&model.events, !readable.is_empty(), text);
    }
}

fn get(readable: &[&Property], text: &mut Text) {
    text.lines(&[
        "",
        "/// Asks for these properties, or for all of them where none is named. Grant: `things.read`.",
        "pub fn get(&self, wanted: &[Property]) -> Result<Properties, Fault> {",
        "let wanted = if wanted.is_empty() { Property::ALL } else { wanted };",
        "let identifiers: Vec<&str> = wanted.iter().map(|property| property.identifier()).collect();",
        "let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &identifiers)?;",
        "Ok(<Properties as TryFrom<&value::Properties>>::try_from(&values)?)",
        "}",
    ]);
    for Property { member, .. } in readable {
        let (method, identifier) = (member.method("get"), &member.identifier);
        text.gap();
        text.docs(&member.docs);
        text.line(&format!("pub fn {method}(&self) -> Result<{}, Fault> {{", member.rust_type));
        text.line(&format!("let values = iot_data::get_thing_properties(PRODUCT_KEY, &self.name, &[\"{identifier}\"])?;"));
        text.line(&format!("Ok(values.get(\"{identifier}\")?)"));
        text.line("}");
    }
}

fn set(writable: &[&Property], text: &mut Text) {
    text.lines(&[
        "",
        "/// Sets all of these, or none if the gateway refuses one. Grant: `things.write`.",
        "pub fn set(&self, settings: Settings) -> Result<(), Fault> {",
        "iot_data::set_thing_properties(PRODUCT_KEY, &self.name, settings)",
        "}",
    ]);
    for Property { member, .. } in writable {
        let (method, value) = (member.method("set"), given_type(&member.rust_type));
        text.gap();
        text.docs(&member.docs);
        text.line(&format!("pub fn {method}(&self, value: {value}) -> Result<(), Fault> {{"));
        text.line(&format!("self.set(Settings::default().{}(value))", member.name));
        text.line("}");
    }
}

fn call(service: &Service, text: &mut Text) {
    let Service { identifier, docs, method, inputs, outputs, .. } = service;
    let answers = if outputs.members.is_empty() { "()" } else { &outputs.name };
    text.gap();
    text.docs(docs);
    arguments(inputs, text);
    text.line(&format!("pub fn {method}(&self{}) -> Result<{answers}, Fault> {{", given(inputs)));
    listed("arguments", inputs, text);
    let call = format!("iot_data::call_thing_service(PRODUCT_KEY, &self.name, \"{identifier}\", arguments)");
    if outputs.members.is_empty() {
        text.line(&format!("{call}.map(drop)"));
    } else {
        text.line(&format!("let outputs = {call}?;"));
        text.line(&format!("Ok({answers}::try_from(&outputs)?)"));
    }
    text.line("}");
}

/// What the docs of a method say of its arguments.
pub fn arguments(members: &[super::model::Member], text: &mut Text) {
    if members.is_empty() {
        return;
    }
    text.docs(&["", "Arguments:"]);
    for member in members {
        let name = if member.name == member.identifier { String::new() } else { format!("`{}` is ", member.name) };
        text.docs(&[format!("- {name}{}", member.docs.join(" ").replace("  ", " "))]);
    }
}

fn events(events: &[Event], has_reports: bool, text: &mut Text) {
    events.iter().filter(|event| !event.outputs.members.is_empty()).for_each(|event| record(&event.outputs, text));
    text.gap();
    text.line("/// What a route brings of a thing of this product.");
    text.line("#[derive(Clone, Debug, PartialEq)]");
    text.line("pub enum Event {");
    if has_reports {
        text.docs(&["A report of properties: those that it has."]);
        text.line("Report(Properties),");
    }
    for event in events {
        text.docs(&event.docs);
        let outputs = if event.outputs.members.is_empty() { String::new() } else { format!("({})", event.outputs.name) };
        text.line(&format!("{}{outputs},", event.variant));
    }
    text.line("}");
    text.gap();
    text.lines(&[
        "impl Event {",
        "/// The thing that a message is of, and what it says.",
        "pub fn of(message: &RoutedMessage) -> Result<(Thing, Self), Error> {",
        "let (id, event) = message.thing_event()?;",
        "if id.product_key != PRODUCT_KEY {",
        "return Err(format!(\"the message of topic `{}` is of no thing of product `{PRODUCT_KEY}`\", message.topic).into());",
        "}",
        "let event = match event {",
    ]);
    if has_reports {
        text.line("\"property\" => Self::Report(<Properties as TryFrom<&value::Properties>>::try_from(&message.properties()?)?),");
    }
    for event in events {
        let Event { identifier, variant, outputs, .. } = event;
        let outputs =
            if outputs.members.is_empty() { String::new() } else { format!("({}::try_from(&message.outputs()?)?)", outputs.name) };
        text.line(&format!("\"{identifier}\" => Self::{variant}{outputs},"));
    }
    text.lines(&[
        "other => return Err(format!(\"`{other}` is no event of `{id}` that this function knows\").into()),",
        "};",
        "Ok((Thing::new(id.device_name), event))",
        "}",
        "}",
    ]);
}

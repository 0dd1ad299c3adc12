//! `[[things]]`: devices, each of a product and in the care of a driver.

use std::collections::{BTreeMap, BTreeSet};

use super::json;
use super::nearest::one_of;
use super::reader::{Entry, Table, Value};
use crate::name::{ThingId, check_thing};
use crate::set::Thing;

/// What the project declares; a thing's product and driver must be among it, even where they are themselves wrong.
pub struct Declared<'a> {
    products: BTreeSet<&'a str>,
    drivers: BTreeSet<&'a str>,
}

impl<'a> Declared<'a> {
    pub fn of(root: &Table<'a>) -> Self {
        Self { products: root.keys("products").into_iter().collect(), drivers: root.keys("drivers").into_iter().collect() }
    }
}

pub fn read(list: &Value<'_>, declared: &Declared<'_>) -> Vec<Thing> {
    let mut names = Names::default();
    list.array().unwrap_or_default().iter().filter_map(|item| thing(item, declared, &mut names)).collect()
}

fn thing(item: &Value<'_>, declared: &Declared<'_>, names: &mut Names) -> Option<Thing> {
    let table = item.table(&["product", "name", "driver", "local_name", "tags", "custom"])?;
    let product_key = table.required("product").and_then(|key| reference(&key, "products", &declared.products));
    let driver = table.required("driver").and_then(|name| reference(&name, "drivers", &declared.drivers));
    let device_name = table.required("name").and_then(|name| name.checked(check_thing).map(|text| (text, name)));
    let local_name = table.optional("local_name").and_then(|name| name.checked(check_thing).map(|text| (text, name)));
    let tags = table.optional("tags").map_or_else(|| Some(BTreeMap::new()), |tags| read_tags(&tags));
    let custom = table.optional("custom").map(|custom| json::object(&custom));

    let product_key = product_key?;
    if let Some((text, value)) = &device_name {
        names.device(product_key, text, value);
    }
    if let Some((text, value)) = &local_name {
        names.local(product_key, text, value);
    }
    Some(Thing {
        product_key: product_key.to_owned(),
        device_name: device_name?.0.to_owned(),
        driver: driver?.to_owned(),
        local_name: local_name.map(|(text, _)| text.to_owned()),
        tags: tags?,
        custom: custom.flatten(),
    })
}

fn reference<'a>(value: &Value<'a>, section: &str, declared: &BTreeSet<&str>) -> Option<&'a str> {
    let name = value.text()?;
    if declared.contains(name) {
        return Some(name);
    }
    if declared.is_empty() {
        value.error(format_args!("`{name}` is not declared; add a table [{section}.{name}]"));
    } else {
        let expected = one_of(name, declared.iter().copied());
        value.error(format_args!("`{name}` is not declared under `{section}`; {expected}"));
    }
    None
}

fn read_tags(tags: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let entries = tags.entries()?;
    let tag = |entry: &Entry<'_>| Some((entry.key.to_owned(), entry.value.text()?.to_owned()));
    Some(entries.iter().filter_map(tag).collect())
}

/// The names given so far, with their lines.
#[derive(Default)]
struct Names {
    devices: BTreeMap<ThingId, usize>,
    locals: BTreeMap<ThingId, usize>,
}

impl Names {
    fn device(&mut self, product: &str, name: &str, at: &Value<'_>) {
        taken(&mut self.devices, ThingId::new(product, name), at);
    }

    fn local(&mut self, product: &str, name: &str, at: &Value<'_>) {
        taken(&mut self.locals, ThingId::new(product, name), at);
    }
}

fn taken(names: &mut BTreeMap<ThingId, usize>, id: ThingId, at: &Value<'_>) {
    if let Some(line) = names.get(&id) {
        at.error(format_args!("a thing of product `{}` has the name `{}` already, in line {line}", id.product_key, id.device_name));
    } else {
        names.insert(id, at.line());
    }
}

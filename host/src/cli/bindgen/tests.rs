//! What is written: the lamp as it is, and whatever a TSL may name as Rust that parses and names nothing twice.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::*;

const LAMP: &str = include_str!("../../thing/tsl/lamp.json");

fn of(kind: Option<UserKind>, only: &[&str]) -> Options {
    Options { only: only.iter().map(|identifier| (*identifier).to_owned()).collect(), kind }
}

#[test]
fn the_lamp_as_rust() {
    insta::assert_snapshot!("lamp", rust_module(LAMP, None, &Options::default()).unwrap());
    check(LAMP);
}

#[test]
fn only_what_is_wanted_is_written_and_used() {
    let module = rust_module(LAMP, None, &of(Some(UserKind::Function), &["LightSwitch", "blink"])).unwrap();
    assert!(module.contains("//! Only `LightSwitch`, `blink`."), "{module}");
    for absent in ["brightness", "Brightness", "overheated", "Registered", "Driver"] {
        assert!(!module.contains(absent), "{absent} in {module}");
    }
    let module = rust_module(LAMP, None, &of(Some(UserKind::Driver), &["overheated"])).unwrap();
    for absent in ["pub struct Thing {", "LightSwitch", "pub enum Event", "async fn get(", "async fn set("] {
        assert!(!module.contains(absent), "{absent} in {module}");
    }
    let error = format!("{:#}", rust_module(LAMP, None, &of(None, &["Colour"])).unwrap_err());
    assert!(error.contains("`Colour`; it has LightSwitch, Brightness"), "{error}");
}

#[test]
fn a_wrong_model_is_refused_with_the_place_and_a_missing_key_by_its_option() {
    let error = format!("{:#}", rust_module("{\"properties\": [{}]}", None, &Options::default()).unwrap_err());
    assert!(error.contains("properties[0].accessMode: is missing"), "{error}");
    let error = format!("{:#}", rust_module("{}", None, &Options::default()).unwrap_err());
    assert!(error.contains("--product"), "{error}");
    let error = format!("{:#}", rust_module(LAMP, Some("a1Other"), &Options::default()).unwrap_err());
    assert!(error.contains("`a1Lamp`") && error.contains("`a1Other`"), "{error}");
    assert!(rust_module("{}", Some("a\"#b"), &Options::default()).is_err());
    check("{\"profile\": {\"productKey\": \"a1Empty\"}}");
}

/// A model in which everything has the same name, or no name that Rust would take.
fn odd(names: &[&str], text: &str) -> String {
    let scalar = || json!({"type": "text", "specs": {"unit": text}});
    let list = |kind: &Json, names: &[&str]| -> Vec<Json> {
        let is_required = |name: &str| name.len().is_multiple_of(2);
        let entry = |name: &&str| json!({"identifier": name, "name": text, "desc": text, "dataType": kind, "required": is_required(name)});
        names.iter().map(entry).collect()
    };
    // Of lists within lists there are a few.
    let few = &names[..names.len().min(4)];
    let kinds = [
        scalar(),
        json!({"type": "enum", "specs": {"0": text, "1": "on", "-1": "on", "7": "Member7", "8": "Self"}}),
        json!({"type": "struct", "specs": list(&scalar(), few)}),
        json!({"type": "array", "specs": {"item": {"type": "struct", "specs": list(&json!({"type": "enum", "specs": {"0": "a"}}), few)}}}),
        json!({"type": "struct", "specs": []}),
    ];
    let property = |(at, name): (usize, &&str)| {
        let mode = ["rw", "r", "w"][at % 3];
        json!({"identifier": name, "name": text, "accessMode": mode, "desc": text, "dataType": kinds[at % kinds.len()]})
    };
    let event = |name: &&str| json!({"identifier": name, "name": text, "desc": text, "outputData": list(&kinds[2], few)});
    let service = |(at, name): (usize, &&str)| json!({"identifier": name, "name": text, "inputData": list(&kinds[at % 2], if at == 0 { names } else { few }), "outputData": list(&scalar(), few)});
    json!({
        "profile": {"productKey": "a1Odd"},
        "properties": names.iter().enumerate().map(property).collect::<Vec<_>>(),
        "events": names.iter().map(event).collect::<Vec<_>>(),
        "services": names.iter().enumerate().map(service).collect::<Vec<_>>(),
    })
    .to_string()
}

const ODD_NAMES: &[&str] = &[
    "a-b",
    "a.b",
    "a:b",
    "aB",
    "AB",
    "a_b",
    "type",
    "Self",
    "self",
    "crate",
    "2fa",
    "2-fa",
    "灯",
    "灯光",
    "ж",
    "½",
    "_",
    "--",
    "Option",
    "String",
    "Result",
    "Thing",
    "Event",
    "Report",
    "new",
    "name",
    "default",
    "value",
    "values",
    "given",
    "arguments",
    "outputs",
    "thing",
    "get_a",
    "run",
    "register",
    "u436",
    "unnamed",
    "try",
    "gen",
    "member",
    "from",
    "Component",
    "input_0",
    "service",
    "wrong",
];

#[test]
fn odd_names_become_names_and_odd_texts_comments() {
    check(&odd(ODD_NAMES, "a\n*/ \u{202e} `x` [y] <z> \"#\" // {"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_a_model_names_is_rust(names in proptest::collection::hash_set(r"[a-cA-C0-9_.:-]{1,4}|[a-zA-Z]{1,6}|\w{1,3}", 1..12), text in ".{0,20}") {
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !["get", "set", "post", "property"].contains(name)).collect();
        let text = odd(&names, &text);
        if Tsl::parse(&text).is_ok() {
            check(&text);
        }
    }
}

/// What is written parses, is the same each time, and has no name twice in a scope.
fn check(text: &str) {
    for kind in [None, Some(UserKind::Function), Some(UserKind::Driver)] {
        let module = rust_module(text, None, &of(kind, &[])).unwrap();
        assert_eq!(module, rust_module(text, None, &of(kind, &[])).unwrap());
        let file = syn::parse_file(&module).unwrap_or_else(|error| panic!("{error} in:\n{module}"));
        let mut types = Scope::default();
        for item in &file.items {
            match item {
                syn::Item::Struct(item) => {
                    types.add(&item.ident);
                    let mut fields = Scope::default();
                    item.fields.iter().filter_map(|field| field.ident.as_ref()).for_each(|name| fields.add(name));
                }
                syn::Item::Enum(item) => {
                    types.add(&item.ident);
                    let mut variants = Scope::default();
                    item.variants.iter().for_each(|variant| variants.add(&variant.ident));
                }
                syn::Item::Trait(item) => {
                    types.add(&item.ident);
                    let mut methods = Scope::default();
                    for item in &item.items {
                        if let syn::TraitItem::Fn(method) = item {
                            methods.add(&method.sig.ident);
                            check_arguments(&method.sig);
                        }
                    }
                }
                syn::Item::Impl(item) => {
                    let mut methods = Scope::default();
                    for item in &item.items {
                        if let syn::ImplItem::Fn(method) = item {
                            methods.add(&method.sig.ident);
                            check_arguments(&method.sig);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn check_arguments(signature: &syn::Signature) {
    let mut names = Scope::default();
    for argument in &signature.inputs {
        if let syn::FnArg::Typed(argument) = argument
            && let syn::Pat::Ident(name) = &*argument.pat
        {
            names.add(&name.ident);
        }
    }
}

#[derive(Default)]
struct Scope(HashSet<String>);

impl Scope {
    fn add(&mut self, name: &syn::Ident) {
        assert!(self.0.insert(name.to_string()), "`{name}` is there twice");
    }
}

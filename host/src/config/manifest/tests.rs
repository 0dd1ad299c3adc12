//! What a manifest gives, and how its mistakes read.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::name::FunctionName;
use crate::set::{RouteSource, RouteTopic};
use crate::thing::tsl::TSL_BYTES_MAX;

/// A project with a crate `hello`, a driver crate `light`, a component and two TSL files.
fn project(manifest: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [
        (FILE_NAME, manifest),
        ("hello/Cargo.toml", ""),
        ("light/Cargo.toml", ""),
        ("other.wasm", ""),
        ("tsl/a1Light.json", "\u{feff}{\"properties\": []}"),
        ("tsl/broken.json", "{\n  \"光\": [1,\n}\n"),
    ] {
        let file = dir.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

/// The mistakes, as people see them, with file names instead of paths.
fn mistakes(manifest: &str) -> Vec<String> {
    let dir = project(manifest);
    let prefix = format!("{}/", shown(dir.path()).display());
    let errors = load(dir.path()).unwrap_err();
    errors.to_string().lines().map(|line| line.replace(&prefix, "")).collect()
}

const WHOLE: &str = r##"
[project]
name = "demo"

[products.a1Light]
name = "Light"
tsl = "tsl/a1Light.json"
tsl_ext = "tsl/a1Light.json"

[[things]]
product = "a1Light"
name = "lamp-1"
driver = "light"
local_name = "0x12"
tags = { location = "master bedroom" }
custom = { port = 12_345, z = 1, a = [1.5, true], since = 2019-08-07 }

[drivers.light]
crate = "light"
config = { kv = [{ key = "ip", value = "127.0.0.1", note = "ip地址" }] }
limits.deadline_ms = 10_000
grants = { tcp = ["127.0.0.1:502"], gateway_info = true }

[functions."EdgeFC/hello"]
crate = "hello"
[functions."EdgeFC/hello".limits]
memory_mib = 16
log_bytes_per_s = 0
[functions."EdgeFC/hello".grants]
things = { read = ["a1Light/*/LightSwitch"], write = ["a1Light/lamp-1"] }
invoke = ["EdgeFC/*"]
credentials = true

[functions."EdgeFC/another"]
component = "other.wasm"

[[routes]]
source = { device = "/a1Light/+" }
topic = "property"
target = { function = "EdgeFC/hello" }
[[routes]]
source = { function = "Elsewhere/f" }
topic = "/light/#"
target = { function = "Elsewhere/g" }
"##;

#[test]
fn a_whole_manifest_is_read() {
    let dir = project(WHOLE);
    let Project { name, set, .. } = load(dir.path()).unwrap();
    assert_eq!(name, "demo");
    assert_eq!((set.products[0].key.as_str(), set.products[0].name.as_str()), ("a1Light", "Light"));
    assert_eq!(set.products[0].tsl, r#"{"properties": []}"#);
    assert!(set.products[0].tsl_ext.is_some());

    let thing = &set.things[0];
    assert_eq!((thing.local_name.as_deref(), thing.tags["location"].as_str()), (Some("0x12"), "master bedroom"));
    let custom = thing.custom.as_ref().unwrap().to_string();
    assert_eq!(custom, r#"{"port":12345,"z":1,"a":[1.5,true],"since":"2019-08-07"}"#);

    let light = &set.drivers[0];
    assert_eq!(light.component, Source::Crate(dir.path().join("light")));
    assert_eq!(light.config, Some(json!({ "kv": [{ "key": "ip", "value": "127.0.0.1", "note": "ip地址" }] })));
    assert_eq!((light.limits.deadline_ms, light.grants.tcp.len(), light.grants.gateway_info), (10_000, 1, true));

    // In the order of the file, not of the letters.
    let [hello, another] = &set.functions[..] else { panic!("two functions") };
    assert_eq!((hello.limits.memory_bytes, hello.limits.log_bytes_per_s, hello.limits.handles), (16 << 20, 0, 1_024));
    assert_eq!((hello.grants.things.write[0].to_string().as_str(), hello.grants.credentials), ("a1Light/lamp-1/*", true));
    assert_eq!(another.component, Source::Component(dir.path().join("other.wasm")));

    assert_eq!(set.routes[0].topic, RouteTopic::Property);
    assert_eq!(set.routes[1].source, RouteSource::Function(FunctionName::new("Elsewhere", "f").unwrap()));
}

#[test]
fn an_empty_manifest_is_a_project_named_like_its_directory() {
    let dir = project("");
    let project = load(dir.path()).unwrap();
    assert_eq!(project.name, dir.path().canonicalize().unwrap().file_name().unwrap().to_str().unwrap());
    assert!(project.set.functions.is_empty());
}

#[test]
fn every_mistake_is_reported_in_one_go_in_the_order_of_the_lines() {
    let manifest = r##"project.nmae = "demo"
[products.a1Light]
tls = "tsl/a1Light.json"
[products.broken]
tsl = "tsl/broken.json"
tsl_ext = "tsl/none.json"
[[things]]
product = "a1Ligth"
name = "lamp 1"
driver = "light"
tags = { floor = 2 }
[[things]]
product = "a1Light"
name = "lamp-2"
driver = "light"
local_name = "0x12"
[[things]]
product = "a1Light"
name = "lamp-2"
driver = "light"
local_name = "0x12"
[drivers.light-1]
crate = "nowhere"
config = { json = { text = 1 }, kv = [] }
[drivers.light]
component = "other.wasm"
config = { kv = [{ key = "ip" }, { key = "ip", value = 1 }] }
[functions.hello]
crate = "hello"
component = "other.wasm"
[functions."EdgeFC/hello"]
limits = { memory_mib = 257, deadline_ms = "5s", concurrency = -1 }
grants = { publish = ["/a/#/b"], things = { read = ["a//b"] }, invoke = ["EdgeFC"], credentials = "yes" }
[[routes]]
source = { device = "a1Light/lamp-1" }
topic = "a+"
target = { function = "hello" }
[functoins]
"##;
    assert_eq!(mistakes(manifest).join("\n"), MISTAKES.trim());
}

const MISTAKES: &str = r##"
ledge.toml:1:9: project.nmae: unknown key; expected `name`
ledge.toml:2:1: products.a1Light: the key `tsl` is missing
ledge.toml:3:1: products.a1Light.tls: unknown key; expected one of `name`, `tsl`, `tsl_ext`, `history_bytes` (did you mean `tsl`?)
ledge.toml:6:11: products.broken.tsl_ext: `tsl/none.json` cannot be read: No such file or directory (os error 2)
ledge.toml:8:11: things[0].product: `a1Ligth` is not declared under `products`; expected one of `a1Light`, `broken` (did you mean `a1Light`?)
ledge.toml:9:8: things[0].name: `lamp 1` is not a name of this kind: expected 1 to 64 letters, digits and `_ - . @ :`
ledge.toml:11:18: things[0].tags.floor: expected text, found a number
ledge.toml:19:8: things[2].name: a thing of product `a1Light` has the name `lamp-2` already, in line 14
ledge.toml:21:14: things[2].local_name: a thing of product `a1Light` has the name `0x12` already, in line 16
ledge.toml:22:10: drivers.light-1: `light-1` is not a name of this kind: expected a letter and then letters, digits and `_`, 20 at most
ledge.toml:23:9: drivers.light-1.crate: `nowhere` has no Cargo.toml; expected the directory of a Rust crate
ledge.toml:24:10: drivers.light-1.config: keep only one of the keys `json`, `kv`, `fileList`
ledge.toml:27:18: drivers.light.config.kv[0]: the key `value` is missing
ledge.toml:27:42: drivers.light.config.kv[1].key: the key `ip` is there twice
ledge.toml:27:56: drivers.light.config.kv[1].value: expected text, found a number
ledge.toml:28:1: functions.hello: keep only one of the keys `crate`, `component`
ledge.toml:28:12: functions.hello: `hello` is not a name of this kind: expected `service/function`, each a letter and then letters, digits, `_` and `-`, 128 at most
ledge.toml:31:1: functions."EdgeFC/hello": one of the keys `crate`, `component` is missing
ledge.toml:32:25: functions."EdgeFC/hello".limits.memory_mib: 257 is out of range; expected a whole number from 1 to 256
ledge.toml:32:44: functions."EdgeFC/hello".limits.deadline_ms: expected a whole number from 1 to 300000, found text
ledge.toml:32:64: functions."EdgeFC/hello".limits.concurrency: -1 is out of range; expected a whole number from 1 to 256
ledge.toml:33:23: functions."EdgeFC/hello".grants.publish[0]: `#` must stand alone, at the end
ledge.toml:33:53: functions."EdgeFC/hello".grants.things.read[0]: `a//b` is not a pattern of things: expected `product/thing/property`, where `*` stands for any
ledge.toml:33:74: functions."EdgeFC/hello".grants.invoke[0]: `EdgeFC` is not a pattern of functions: expected `service/function`, where `*` stands for any
ledge.toml:33:99: functions."EdgeFC/hello".grants.credentials: expected true or false, found text
ledge.toml:35:21: routes[0].source.device: `a1Light/lamp-1` names no devices; expected `/product/thing`, `/product/+` or `#`
ledge.toml:36:9: routes[0].topic: `+` must stand alone between slashes
ledge.toml:37:23: routes[0].target.function: `hello` is not a name of this kind: expected `service/function`, each a letter and then letters, digits, `_` and `-`, 128 at most
ledge.toml:38:2: functoins: unknown key; expected one of `project`, `products`, `things`, `drivers`, `functions`, `routes`, `rules` (did you mean `functions`?)
tsl/broken.json:3:1: not valid JSON: expected value
"##;

#[test]
fn of_wrong_toml_only_the_syntax_is_reported() {
    let found = mistakes("[project]\nnmae = 'demo'\nname = demo\n[[things]\n");
    assert_eq!(
        found,
        [
            "ledge.toml:3:8: not valid TOML: string values must be quoted, expected literal string",
            "ledge.toml:4:10: not valid TOML: unclosed array table, expected `]`",
        ]
    );
}

#[test]
fn a_missing_manifest_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("ledge.toml: there is no such file; name a directory that has one, or make a project with `ledge new`"),
        "{error}"
    );
    let error = load(&dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("the directory does not exist"), "{error}");
}

#[test]
fn what_means_nothing_for_a_driver_or_for_a_function_is_refused() {
    let found = mistakes(&format!(
        "{WHOLE}\n[drivers.b]\ncomponent = 'other.wasm'\nlimits.call_depth = 2\ngrants.publish = ['#']\n\
         [functions.\"a/b\"]\ncomponent = 'other.wasm'\ngrants.tcp = ['127.0.0.1:502']"
    ));
    for (mistake, wanted) in found.iter().zip(["drivers.b.limits.call_depth: unknown key", "drivers.b.grants.publish", "a/b\".grants.tcp"])
    {
        assert!(mistake.contains(wanted), "nothing of {wanted} in {mistake}");
    }
    assert_eq!(found.len(), 3);
}

#[test]
fn a_long_custom_is_refused_with_its_size() {
    let found =
        mistakes(&format!("{WHOLE}\n[[things]]\nproduct = 'a1Light'\nname = 'b'\ndriver = 'light'\ncustom.text = '{}'", "x".repeat(1_014)));
    assert_eq!(found, ["ledge.toml:50:1: things[1].custom: has 1025 bytes as JSON; expected 1024 at most"]);
}

#[test]
fn a_model_may_be_larger_than_a_manifest() {
    let dir = project("[products.a1Light]\ntsl = 'big.json'\ntsl_ext = 'big.json'\n");
    let of_bytes = |bytes: usize| format!("{{\"properties\": []}}{}", " ".repeat(bytes - 18));
    fs::write(dir.path().join("big.json"), of_bytes(TSL_BYTES_MAX)).unwrap();
    let products = load(dir.path()).unwrap().set.products;
    assert_eq!([&products[0].tsl, products[0].tsl_ext.as_ref().unwrap()].map(String::len), [TSL_BYTES_MAX; 2]);
    fs::write(dir.path().join("big.json"), of_bytes(TSL_BYTES_MAX + 1)).unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("big.json` cannot be read: it has more than 8388608 bytes"), "{error}");
}

#[test]
fn a_model_that_nests_too_deeply_is_told_with_its_place() {
    let dir = project("[products.a1Light]\ntsl = 'deep.json'\n");
    let (open, close) = (r#"{"type": "array", "specs": {"item": "#, "}}");
    let nested = format!("{}{{\"type\": \"int\"}}{}", open.repeat(200), close.repeat(200));
    let text = format!(r#"{{"properties": [{{"identifier": "p", "accessMode": "r", "dataType": {nested}}}]}}"#);
    fs::write(dir.path().join("deep.json"), text).unwrap();
    let place = format!("properties[0].dataType{}", ".specs.item".repeat(8));
    let said = format!("ledge.toml:2:7: products.a1Light.tsl: the TSL is wrong at {place}: nests deeper than 8 types");
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with(&said), "{error}");
}

#[test]
fn ten_thousand_things_are_read_at_once_and_a_name_that_is_taken_is_told_with_both_lines() {
    let mut manifest = WHOLE.to_owned();
    for number in 0..10_000 {
        manifest.push_str(&format!("[[things]]\nproduct = 'a1Light'\nname = 'thing-{number}'\ndriver = 'light'\n"));
    }
    let dir = project(&manifest);
    let began = std::time::Instant::now();
    assert_eq!(load(dir.path()).unwrap().set.things.len(), 10_001);
    // Also without optimisation, on a busy machine. With it, it took four seconds where the line of each was counted from the first.
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    manifest.push_str("[[things]]\nproduct = 'a1Light'\nname = 'thing-9'\ndriver = 'light'\n");
    let found = mistakes(&manifest);
    assert_eq!(found, ["ledge.toml:40047:8: things[10001].name: a thing of product `a1Light` has the name `thing-9` already, in line 83"]);
}

proptest::proptest! {
    #[test]
    fn a_damaged_manifest_is_read_or_its_mistakes_have_their_place(at in 0_usize..10_000, gone in 0_usize..30, new in "[\\[\\]{}=.,\"a-z0-9#\n é-]{0,8}") {
        let mut text: Vec<char> = WHOLE.chars().collect();
        let at = at % text.len();
        let end = (at + gone).min(text.len());
        text.splice(at..end, new.chars());
        let text: String = text.into_iter().collect();
        let dir = project(&text);
        if let Err(ManifestErrors(mistakes)) = load(dir.path()) {
            proptest::prop_assert!(!mistakes.is_empty());
            for mistake in mistakes.iter().filter(|mistake| mistake.file.ends_with(FILE_NAME)) {
                let (lines, mistake) = (text.lines().count() + 1, mistake.clone());
                proptest::prop_assert!((1..=lines).contains(&mistake.line) && mistake.column >= 1, "{}", mistake);
            }
        }
    }
}

#[test]
fn a_rule_is_a_file_or_a_table_and_its_mistakes_are_told_with_their_place() {
    let dir = project(
        r#"
[rules.night]
file = "night.json"
qos = 1
[rules."夜间"]
rule = { type = "IFTTT", action = [{ uri = "action/mq/send", params = { topic = "/a" } }] }
enabled = false
"#,
    );
    let json = r#"{"type": "IFTTT", "trigger": {}, "action": [{"uri": "action/mq/send", "params": {"topic": "/a"}}]}"#;
    fs::write(dir.path().join("night.json"), json).unwrap();
    let rules = load(dir.path()).unwrap().set.rules;
    assert_eq!((rules[0].name.as_str(), rules[0].enabled, rules[0].qos), ("night", true, crate::set::Qos::AtLeastOnce));
    assert_eq!((rules[1].name.as_str(), rules[1].enabled, rules[1].runs_per_s), ("夜间", false, 100));
    let dir = project("[rules.\"a b\"]\nrule = { type = \"CA\", action = [] }\nqos = 2\n");
    let errors = load(dir.path()).unwrap_err().to_string();
    for said in ["`a b` is not a name", "`type`: expected `IFTTT`", "`action`: a rule needs at least one action", "qos: 2 is out of range"]
    {
        assert!(errors.contains(said), "{said}\n{errors}");
    }
}

#[test]
fn where_a_driver_listens_is_text_or_a_table_with_conditions() {
    let driver =
        |listen: &str| format!("{WHOLE}\n[drivers.b]\ncomponent = 'other.wasm'\nlimits.connections = 9\ngrants.listen = [{listen}]");
    let dir = project(&driver(
        "'127.0.0.1:17682', { address = '0.0.0.0:17683', tls = true, cert = 'c.pem', key = 'k.pem', from = ['10.0.0.0/8', '::1'] }",
    ));
    fs::write(dir.path().join("c.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
    fs::write(dir.path().join("k.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
    let set = load(dir.path()).unwrap().set;
    let [plain, conditional] = &set.drivers[1].grants.listen[..] else { panic!("two entries") };
    assert!(plain.is_plain() && conditional.tls && conditional.from.len() == 2 && set.drivers[1].limits.connections == 9);
    assert_eq!(conditional.certificate.as_ref().unwrap().chain, "-----BEGIN CERTIFICATE-----");

    for (listen, said) in [
        ("{ tls = true }", "the key `address` is missing"),
        ("{ address = '127.0.0.1:1', tsl = true }", "unknown key"),
        ("{ address = '127.0.0.1:1', from = [] }", "nobody is named"),
        ("{ address = '127.0.0.1:1', from = ['plc.local'] }", "is not an address or a network"),
        ("{ address = '127.0.0.1:1', tls = true, cert = 'c.pem' }", "belong together"),
        ("{ address = '127.0.0.1:1', cert = 'c.pem', key = 'k.pem' }", "belong together"),
        ("{ address = '127.0.0.1:1', tls = true, cert = 'none.pem', key = 'ledge.toml' }", "none.pem"),
    ] {
        let found = mistakes(&driver(listen));
        assert!(found[0].contains(said) && found[0].contains("drivers.b.grants.listen[0]"), "{listen}: {found:?}");
    }
}

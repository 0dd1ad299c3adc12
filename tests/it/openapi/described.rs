//! The description at `/openapi.json`: whole, and true for whoever asks, whatever they ask.

use std::collections::{BTreeMap, BTreeSet};

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value as Json, json};

use crate::harness::command::{python_with, shell};
use crate::harness::{PASSWORD, TestGateway, gateway, invoke_grants, repository};

/// Where nothing is said of a JSON value, or of an object's members: each with why.
const ANY: [(&str, &str); 15] = [
    ("fc_deploy", "a set, as `ledge deploy` sends it"),
    ("Done", "an object without members"),
    ("Envelope_Done.data", "the same"),
    ("later_tsl", "a TSL, as it was given"),
    ("WholeProduct.tsl", "a TSL, as it was given"),
    ("WholeProduct.tsl_ext", "an extension of one"),
    ("ProductGiven.tsl", "a TSL"),
    ("ProductGiven.tsl_ext", "an extension of one"),
    ("Rule.rule", "a rule's JSON, which has a grammar of its own"),
    ("RuleGiven.rule", "the same"),
    ("V1Event.eventBody", "as the thing's topic carries it"),
    ("request", "taken, and not looked at"),
    ("FcTrigger.triggerConfig", "by its type"),
    ("FcTriggerGiven.triggerConfig", "by its type"),
    ("FcFunctionGiven.grants", "as in a set"),
];

/// Looks at a schema and at whatever it refers to.
struct Look<'a> {
    document: &'a Json,
    seen: BTreeSet<String>,
    /// Where anything may be.
    any: Vec<String>,
}

impl<'a> Look<'a> {
    fn at(document: &'a Json, name: &str, schema: &Json) -> Self {
        let mut look = Self { document, seen: BTreeSet::new(), any: vec![] };
        look.schema(name, schema);
        look
    }

    fn schema(&mut self, name: &str, schema: &Json) {
        if let Some(reference) = schema["$ref"].as_str() {
            let referred = self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{name}: {reference}"));
            let of = reference.rsplit('/').next().unwrap().to_owned();
            if self.seen.insert(of.clone()) {
                self.schema(&of, referred);
            }
            return;
        }
        let says = |word: &str| schema.get(word).is_some();
        let is_object = schema["type"] == "object" && !says("properties") && !says("additionalProperties");
        let is_known = ["type", "oneOf", "anyOf", "allOf", "enum", "const"].into_iter().any(says);
        if !is_known || is_object {
            self.any.push(name.to_owned());
        }
        for word in ["oneOf", "anyOf", "allOf"] {
            for one in schema[word].as_array().into_iter().flatten() {
                self.schema(name, one);
            }
        }
        for (member, one) in schema["properties"].as_object().into_iter().flatten() {
            self.schema(&if member == "request" { member.clone() } else { format!("{name}.{member}") }, one);
        }
        for word in ["items", "additionalProperties"] {
            if schema[word].is_object() {
                self.schema(name, &schema[word]);
            }
        }
    }
}

/// The JSON that a page such as the one at `/docs` proposes as a body, and the members for which it has to make something up.
fn example(document: &Json, operation: &Json) -> Option<(Json, Vec<String>)> {
    let content = operation["requestBody"]["content"].get("application/json")?;
    let mut made_up = Vec::new();
    let given = content.get("example").cloned();
    let example = given.unwrap_or_else(|| example_of(document, "the whole", &content["schema"], &mut made_up));
    Some((example, made_up))
}

fn example_of(document: &Json, name: &str, schema: &Json, made_up: &mut Vec<String>) -> Json {
    if let Some(reference) = schema["$ref"].as_str() {
        return example_of(document, name, document.pointer(&reference[1..]).unwrap(), made_up);
    }
    let given = schema.get("example").or(schema["examples"].get(0)).or(schema.get("default")).or(schema["enum"].get(0));
    if let Some(given) = given.or(schema.get("const")) {
        return given.clone();
    }
    let one = ["oneOf", "anyOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten().find(|one| one["type"] != "null");
    if let Some(one) = one {
        return example_of(document, name, one, made_up);
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let parts = parts.map(|part| example_of(document, name, part, made_up)).filter_map(|part| part.as_object().cloned());
    let mut members: serde_json::Map<_, _> = parts.flatten().collect();
    for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
        members.insert(member.clone(), example_of(document, member, schema, made_up));
    }
    if !members.is_empty() {
        return members.into();
    }
    if schema["items"].is_object() {
        return json!([example_of(document, name, &schema["items"], made_up)]);
    }
    made_up.push(name.to_owned());
    Json::Null
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_says_what_it_takes_and_answers_with_examples() {
    let gw = gateway().start().await;
    let document = gw.stranger().get_json("/openapi.json").await.unwrap();
    let mut wrong = Vec::new();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let mut say = |what: String| wrong.push(format!("{method} {path} ({id}): {what}"));
            if !ids.insert(id.to_owned()) {
                say("the id is another operation's".into());
            }
            if operation["summary"].as_str().is_none_or(|text| text.len() < 8) {
                say("nothing says what it does".into());
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                Look::at(&document, id, &parameter["schema"]);
                if parameter["description"].as_str().is_none_or(str::is_empty) {
                    say(format!("parameter {} is not described", parameter["name"]));
                }
            }
            let mut schemas = Vec::new();
            for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(|kinds| kinds.values()) {
                schemas.push(Look::at(&document, id, &content["schema"]));
            }
            if let Some((_, made_up)) = example(&document, operation).filter(|(_, made_up)| !made_up.is_empty()) {
                say(format!("the example of the body has nothing for {made_up:?}"));
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let answer = answer["$ref"].as_str().map_or(answer, |at| document.pointer(&at[1..]).unwrap());
                if answer["description"].as_str().is_none_or(str::is_empty) {
                    say(format!("{status} is not described"));
                }
                let contents = answer["content"].as_object().into_iter().flatten();
                schemas.extend(contents.map(|(_, content)| Look::at(&document, id, &content["schema"])));
            }
            let any: BTreeSet<String> = schemas.into_iter().flat_map(|look| look.any).collect();
            for name in any.iter().filter(|name| !ANY.iter().any(|(known, _)| known == name)) {
                say(format!("`{name}` may be anything"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ids.len() > 90, "{} operations", ids.len());
}

/// The demo, with something behind every example of the description.
async fn with_what_the_examples_name() -> TestGateway {
    let gw = gateway()
        .product("a1Light", include_str!("../../../sample-functions/tsl/a1Light.json"))
        .product("a1LightSensor", include_str!("../../../sample-functions/tsl/a1LightSensor.json"))
        .driver("light", "light")
        .driver("light_sensor", "light_sensor")
        .thing("a1Light", "lamp-1", "light")
        .with_thing(|thing| thing.tags = BTreeMap::from([("location".into(), "master bedroom".into())]))
        .thing("a1LightSensor", "sensor-1", "light_sensor")
        .function_of("EdgeFC/helloworld", "helloworld")
        .grants(|grants| grants.subscribe = vec!["#".parse().unwrap()])
        .function_of("EdgeFC/invoker", "invoker")
        .grants(|grants| grants.invoke = invoke_grants("EdgeFC/helloworld"))
        .function_of("EdgeFC/light-monitor", "light-monitor")
        .grants(|grants| grants.subscribe = vec!["#".parse().unwrap()])
        .plain_listen()
        .start()
        .await;
    let timer = json!({"uri": "trigger/timer", "params": {"cron": "0 22 * * *", "cronType": "linux"}});
    let rule = json!({"type": "IFTTT", "trigger": timer, "action": [{"uri": "action/mq/send", "params": {"topic": "/night"}}]});
    let trigger =
        json!({"triggerName": "hourly", "triggerType": "timer", "triggerConfig": {"cronExpression": "@every 1h", "enable": true}});
    for (method, path, body) in [
        (Method::PUT, "/ledge/v1/users/prober", json!({"role": "admin", "password": PASSWORD})),
        (Method::PUT, "/ledge/v1/users/operator-1", json!({"role": "operator", "password": PASSWORD})),
        (Method::PUT, "/ledge/v1/rules/night-light", json!({"rule": rule})),
        (Method::POST, "/ledge/v1/versions/EdgeFC", json!({})),
        (Method::PUT, "/ledge/v1/aliases/EdgeFC/live", json!({"version": 1})),
        (Method::POST, "/2016-08-15/services/EdgeFC/functions/helloworld/triggers", trigger),
    ] {
        let answer = gw.admin().send(method, path, &[], body.to_string().into()).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {:?}", answer.body);
    }
    gw
}

/// Whose examples are no more than that, and how they are answered.
const REFUSED: [(&str, u16, &str); 3] = [
    ("certificate_put", 400, "a certificate that is none"),
    ("fc_function_create", 400, "a package that is none"),
    ("login_logout", 400, "it is of a cookie, and here is none"),
];

/// Whoever presses "execute" on the page sends what stands there.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_bodies_can_be_sent_as_they_stand() {
    let gw = with_what_the_examples_name().await;
    let document = gw.stranger().get_json("/openapi.json").await.unwrap();
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some((body, _)) = example(&document, operation) else { continue };
            let parameters = operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "path");
            let path = parameters.fold(path.clone(), |path, parameter| {
                let value = &parameter["example"];
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &text)
            });
            let mut connection = gw.admin().connect().await.unwrap();
            let method: Method = method.to_uppercase().parse().unwrap();
            // An answer may have no end.
            let answer = connection.start(method.clone(), &path, &[], body.to_string().into()).await.unwrap();
            let (status, id) = (answer.status().as_u16(), operation["operationId"].as_str().unwrap());
            let expected = REFUSED.iter().find(|(refused, ..)| *refused == id).map(|(_, status, _)| *status);
            if expected.map_or(!(200..300).contains(&status), |expected| status != expected) {
                let said = answer.into_body().collect().await.unwrap().to_bytes();
                wrong.push(format!("{method} {path} ({id}) of {body}: {status} {}", String::from_utf8_lossy(&said)));
            }
            sent += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sent > 30, "{sent} examples");
}

/// What a run of schemathesis counted: answers by operation and status.
type Answers = BTreeMap<String, BTreeMap<u16, u64>>;

/// Runs it once. Everything that it finds wrong fails the test.
async fn run(gw: &TestGateway, python: &str, is_logged_in: bool, seed: u64, examples: u64) -> Answers {
    let url = format!("http://{}", gw.gateway.plain.unwrap());
    // An answer that does not end is for strangers only, who are refused.
    let who = if is_logged_in { "-a \"$LEDGE_USER:$LEDGE_PASSWORD\" --exclude-path /thing/device/events/get" } else { "" };
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth";
    // What is tried systematically is the same each time, and strangers get no further than to their refusal.
    let phases = if seed == 1 && is_logged_in { "examples,coverage,fuzzing" } else { "fuzzing" };
    let line = format!(
        "{python} -m schemathesis.cli --config-file \"$TESTS/schemathesis.toml\" --no-color run \"$LEDGE_URL/openapi.json\" {who} -c {checks} \
         --phases {phases} -n {examples} --seed {seed} --continue-on-failure --no-shrink --generation-database none \
         --warnings off --request-timeout 30 --workers 1"
    );
    let env = [
        ("TESTS", repository().join("tests").display().to_string()),
        ("PYTHONPATH", repository().join("tests").display().to_string()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("SCHEMATHESIS_HOOKS", "schemathesis_hooks".into()),
        ("LEDGE_URL", url),
        ("LEDGE_USER", "prober".into()),
        ("LEDGE_PASSWORD", PASSWORD.into()),
        ("LEDGE_LOGGED_IN", if is_logged_in { "1".into() } else { String::new() }),
    ];
    let ran = shell(&line, gw.data.path(), &env).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let last = ran.stdout.lines().rev().find_map(|line| serde_json::from_str::<Json>(line).ok()).expect("it tells no counts");
    serde_json::from_value(last["answers"].clone()).unwrap()
}

/// Needs the package `schemathesis`. `LEDGE_SCHEMATHESIS` says how many requests, at least.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_is_answered_as_described() {
    let Some(python) = python_with("schemathesis").await else { return };
    let wanted: u64 = std::env::var("LEDGE_SCHEMATHESIS").map_or(3_000, |count| count.parse().expect("a number of requests"));
    let gw = with_what_the_examples_name().await;
    let count = |answers: &Answers| answers.values().flat_map(BTreeMap::values).sum::<u64>();
    let mut by_whom = [Answers::new(), Answers::new()];
    // Both kinds of callers have half of it.
    for (is_logged_in, answers) in [true, false].into_iter().zip(&mut by_whom) {
        for seed in 1_u64.. {
            let missing = (wanted / 2).saturating_sub(count(answers));
            if missing == 0 {
                break;
            }
            for (name, statuses) in run(&gw, &python, is_logged_in, seed, (missing / 100).clamp(4, 40)).await {
                for (status, times) in statuses {
                    *answers.entry(name.clone()).or_default().entry(status).or_default() += times;
                }
            }
        }
    }
    let [known, strangers] = &by_whom;
    let went_well = |statuses: &BTreeMap<u16, u64>| statuses.keys().any(|status| (200..300).contains(status));
    let (well, never): (Vec<_>, Vec<_>) = known.iter().partition(|(_, statuses)| went_well(statuses));
    let never: Vec<_> = never.into_iter().map(|(name, _)| name.as_str()).collect();
    let mut statuses = BTreeMap::<u16, u64>::new();
    for (status, times) in by_whom.iter().flat_map(BTreeMap::values).flatten() {
        *statuses.entry(*status).or_default() += times;
    }
    eprintln!(
        "{} requests of a user to {} operations, {} of strangers to {}; answers by status: {statuses:?}; none was wrong. \
         {} operations answered a user 2xx, never: {}",
        count(known),
        known.len(),
        count(strangers),
        strangers.len(),
        well.len(),
        never.join(", ")
    );
    assert!(count(known) + count(strangers) >= wanted);
    assert!(well.len() * 100 >= known.len() * 85, "only {} of {} operations answered 2xx; never: {never:?}", well.len(), known.len());
    let open: BTreeSet<&str> = strangers.iter().filter(|(_, statuses)| went_well(statuses)).map(|(name, _)| name.as_str()).collect();
    assert!(open.is_subset(&["healthz", "later_login", "login_login", "login_logout", "readyz"].into()), "strangers were let in: {open:?}");
}

//! Function management in the shapes of Function Compute, with requests that are signed with an access key.

mod ledge_deploy;
mod package;
mod route_trigger;
pub mod signer;
mod upload;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::AUTHORIZATION;
use serde_json::{Value as Json, json};

use self::signer::{Signer, Wrong, date, zipped};
use crate::harness::client::json as body_of;
use crate::harness::command::{ledge, python_with, shell};
use crate::harness::{PASSWORD, TestGateway, component, eventually, gateway, repository};

fn code(guest: &str) -> Json {
    json!({"zipFile": zipped(&[("function.wasm", &component(guest))])})
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A gateway with a service `app`, which has a function `echo`.
async fn with_echo() -> (TestGateway, Signer) {
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    signer.done(Method::POST, "/services", json!({"serviceName": "app"})).await;
    signer.done(Method::POST, "/services/app/functions", json!({"functionName": "echo", "code": code("misbehave")})).await;
    (gw, signer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_made_changed_called_and_deleted() {
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    let given = json!({
        "functionName": "look", "runtime": "wasm", "handler": "handler", "description": "shows itself", "code": code("look"),
        "memorySize": 32, "timeout": 7, "environmentVariables": {"VERSION": "1", "OTHER": "x"}, "instanceConcurrency": 1,
    });
    assert_eq!(signer.refused(Method::POST, "/services/app/functions", given.clone()).await, refusal(404, "ServiceNotFound"));
    let service = signer.done(Method::POST, "/services", json!({"serviceName": "app", "description": "first", "role": ""})).await;
    assert_eq!((&service["serviceName"], &service["description"]), (&json!("app"), &json!("first")));
    let made = signer.done(Method::POST, "/services/app/functions", given.clone()).await;
    assert_eq!((&made["memorySize"], &made["timeout"], &made["runtime"]), (&json!(32), &json!(7), &json!("wasm")));
    assert_eq!(made["environmentVariables"], json!({"OTHER": null, "VERSION": null}));
    assert_eq!(signer.refused(Method::POST, "/services/app/functions", given).await, refusal(409, "FunctionAlreadyExists"));

    let path = "/services/app/functions/look";
    let limits = gw.gateway.functions.get(&"app/look".parse().unwrap()).unwrap().limits;
    assert_eq!((limits.memory_bytes, limits.deadline_ms, limits.cpu_ms), (32 << 20, 7_000, 7_000));
    let vars = async |signer: &Signer| body_of(&signer.send(Method::POST, &format!("/2016-08-15{path}/invocations"), "env").await);
    assert_eq!(vars(&signer).await["VERSION"], "1");

    // What is not given stays, and a `null` keeps a value that is never told.
    signer.done(Method::PUT, path, json!({"timeout": 9, "environmentVariables": {"VERSION": "2", "OTHER": null}})).await;
    // All of it is there after a restart.
    let gw = gw.restart().await;
    let signer = Signer { client: gw.stranger(), ..signer };
    assert_eq!(vars(&signer).await, json!({"OTHER": "x", "VERSION": "2"}));
    let now = signer.done(Method::GET, path, Json::Null).await;
    assert_eq!((&now["timeout"], &now["memorySize"], &now["description"]), (&json!(9), &json!(32), &json!("shows itself")));
    assert_eq!((&now["codeChecksum"], &now["createdTime"]), (&made["codeChecksum"], &made["createdTime"]));

    assert_eq!(signer.refused(Method::DELETE, "/services/app", Json::Null).await, refusal(409, "ServiceNotEmpty"));
    signer.done(Method::DELETE, path, Json::Null).await;
    assert_eq!(signer.refused(Method::GET, path, Json::Null).await, refusal(404, "FunctionNotFound"));
    // A service without functions is one still.
    assert_eq!(signer.done(Method::GET, "/services/app/functions", Json::Null).await, json!({"functions": []}));
    signer.done(Method::DELETE, "/services/app", Json::Null).await;
    assert_eq!(signer.refused(Method::GET, "/services/app", Json::Null).await, refusal(404, "ServiceNotFound"));
    gw.audited("deployed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_changes_nothing() {
    let (gw, signer) = with_echo().await;
    let wasm = component("misbehave");
    let before = signer.done(Method::GET, "/services/app/functions/echo", Json::Null).await;
    for (wrong, why) in [
        (json!({"code": {"zipFile": "?"}}), "base64"),
        (json!({"code": {"zipFile": STANDARD.encode("hello")}}), "no zip"),
        (json!({"code": {"zipFile": zipped(&[("a.wasm", &wasm), ("b.wasm", &wasm)])}}), "several files"),
        (json!({"code": {"zipFile": zipped(&[("../a.wasm", &wasm)])}}), "leads out"),
        (json!({"code": {"zipFile": zipped(&[("index.py", b"x")])}}), "no `*.wasm`"),
        (json!({"code": {"zipFile": zipped(&[("a.wasm", &vec![0; (32 << 20) + 1])])}}), "33554432 bytes"),
        (json!({"code": {"zipFile": zipped(&[("a.wasm", b"\0asm\x01\0\0\0")])}}), "echo"),
        (json!({"code": {"ossBucketName": "b", "ossObjectName": "o"}}), "`code.zipFile` is missing"),
        (json!({"memorySize": 512}), "memorySize"),
        (json!({"timeout": 0}), "timeout"),
        (json!({"environmentVariables": {"A=B": "x"}}), "A=B"),
        (json!({"environmentVariables": {"NEW": null}}), "NEW"),
        (json!({"layers": []}), "layers"),
        (json!([]), "the body is wrong"),
    ] {
        let (status, said) = signer.ask(Method::PUT, "/services/app/functions/echo", wrong.clone()).await;
        assert_eq!((status, &said["ErrorCode"]), (400, &json!("InvalidArgument")), "{wrong}");
        assert!(said["ErrorMessage"].as_str().unwrap().contains(why), "{said} does not say {why}");
    }
    assert_eq!(signer.done(Method::GET, "/services/app/functions/echo", Json::Null).await, before);
    for (method, path, wrong) in [
        (Method::GET, "/services/app.live", refusal(404, "AliasNotFound")),
        (Method::GET, "/services/app.7/functions/echo", refusal(404, "VersionNotFound")),
        (Method::GET, "/services/1/functions/echo", refusal(400, "InvalidArgument")),
        (Method::PUT, "/services/app.1", refusal(400, "InvalidArgument")),
        (Method::GET, "/services?limit=0", refusal(400, "InvalidArgument")),
        (Method::GET, "/services?colour=red", refusal(400, "InvalidArgument")),
        (Method::GET, "/nothing", refusal(404, "PathNotSupported")),
        (Method::PATCH, "/services", refusal(405, "PathNotSupported")),
    ] {
        assert_eq!(signer.refused(method, path, json!({})).await, wrong, "{path}");
    }
    let answer =
        signer.send_but(Method::PUT, "/2016-08-15/services/app", "{}", &[], Wrong { headers: &[("if-match", "old")], ..Wrong::default() });
    assert_eq!(answer.await.status, 412);
    // The component as it is, in no zip.
    signer.done(Method::PUT, "/services/app/functions/echo", json!({"code": {"zipFile": STANDARD.encode(&wasm)}})).await;
    drop(gw);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_page_by_page() {
    let gw = gateway().function("misbehave").start().await;
    let signer = Signer::of(&gw, "admin").await;
    for name in ["b2", "b1", "b3", "c"] {
        signer.done(Method::POST, "/services", json!({"serviceName": name})).await;
    }
    let names = |page: &Json| {
        page["services"].as_array().unwrap().iter().map(|row| row["serviceName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = signer.done(Method::GET, "/services?prefix=b&limit=2", Json::Null).await;
    assert_eq!((names(&first), &first["nextToken"]), (vec!["b1".into(), "b2".into()], &json!("b3")));
    let second = signer.done(Method::GET, "/services?prefix=b&limit=2&nextToken=b3", Json::Null).await;
    assert_eq!((names(&second), second.get("nextToken")), (vec!["b3".into()], None));
    // What came with a deployment is there, too.
    let rest = signer.done(Method::GET, "/services?startKey=c", Json::Null).await;
    assert_eq!(names(&rest), ["c", "test"]);
    let functions = signer.done(Method::GET, "/services/test/functions", Json::Null).await;
    assert_eq!(functions["functions"][0]["functionName"], "misbehave");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_aliases_with_weights() {
    let (_gw, signer) = with_echo().await;
    assert_eq!(signer.done(Method::POST, "/services/app/versions", json!({"description": "one"})).await["versionId"], "1");
    signer.done(Method::PUT, "/services/app/functions/echo", json!({"timeout": 3})).await;
    assert_eq!(signer.done(Method::POST, "/services/app/versions", Json::Null).await["versionId"], "2");
    let listed = signer.done(Method::GET, "/services/app/versions?direction=FORWARD&limit=1", Json::Null).await;
    assert_eq!((&listed["versions"][0]["description"], &listed["nextToken"]), (&json!("one"), &json!("2")));
    assert_eq!(signer.done(Method::GET, "/services/app.2/functions/echo", Json::Null).await["timeout"], 3);

    let alias = json!({"aliasName": "live", "versionId": "1", "additionalVersionWeight": {"2": 0.1}, "description": "for all"});
    signer.done(Method::POST, "/services/app/aliases", alias.clone()).await;
    assert_eq!(signer.refused(Method::POST, "/services/app/aliases", alias).await, refusal(409, "AliasAlreadyExists"));
    let live = signer.done(Method::GET, "/services/app/aliases/live", Json::Null).await;
    assert_eq!((&live["additionalVersionWeight"], &live["description"]), (&json!({"2": 0.1}), &json!("for all")));
    let called = signer.send(Method::POST, "/2016-08-15/services/app.live/functions/echo/invocations", "hi").await;
    assert_eq!(&called.body[..], b"hi");
    for weights in [json!({"2": 1.5}), json!({"2": 0.001}), json!({"2": 0.1, "3": 0.1}), json!({"1": 0.1}), json!({"x": 0.1})] {
        let changed = json!({"additionalVersionWeight": weights});
        assert_eq!(signer.refused(Method::PUT, "/services/app/aliases/live", changed).await, refusal(400, "InvalidArgument"), "{weights}");
    }
    assert_eq!(signer.refused(Method::DELETE, "/services/app/versions/1", Json::Null).await, refusal(409, "VersionInUse"));
    signer.done(Method::PUT, "/services/app/aliases/live", json!({"versionId": "2", "additionalVersionWeight": {}})).await;
    signer.done(Method::DELETE, "/services/app/versions/1", Json::Null).await;
    assert_eq!(signer.refused(Method::DELETE, "/services/app/versions/1", Json::Null).await, refusal(404, "VersionNotFound"));
    signer.done(Method::DELETE, "/services/app/aliases/live", Json::Null).await;
    assert_eq!(signer.done(Method::GET, "/services/app/aliases", Json::Null).await, json!({"aliases": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_functions_is_there_and_is_not_published() {
    let (_gw, signer) = with_echo().await;
    let nobodys = refusal(404, "ServiceNotFound");
    assert_eq!(signer.refused(Method::POST, "/services/empty/versions", Json::Null).await, nobodys);
    signer.done(Method::POST, "/services", json!({"serviceName": "empty"})).await;
    signer.done(Method::GET, "/services/empty", Json::Null).await;
    let (status, said) = signer.ask(Method::POST, "/services/empty/versions", Json::Null).await;
    assert_eq!((status, &said["ErrorCode"]), (400, &json!("InvalidArgument")), "{said}");
    assert!(said["ErrorMessage"].as_str().unwrap().contains("service `empty` has no functions"), "{said}");
    assert_eq!(signer.done(Method::GET, "/services/empty/versions", Json::Null).await, json!({"versions": []}));
    // So it is, too, with one that had some.
    signer.done(Method::POST, "/services/app/versions", Json::Null).await;
    signer.done(Method::DELETE, "/services/app/functions/echo", Json::Null).await;
    assert_eq!(signer.refused(Method::POST, "/services/app/versions", Json::Null).await, refusal(400, "InvalidArgument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_starts_a_function_and_an_async_invocation_is_told_of() {
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    let mut relayed = gw.listen("/relay/relay");
    signer.done(Method::POST, "/services", json!({"serviceName": "app"})).await;
    let given = json!({"functionName": "relay", "code": code("relay"), "grants": {"publish": ["/relay/relay"]}});
    signer.done(Method::POST, "/services/app/functions", given).await;
    let path = "/services/app/functions/relay";
    let timer =
        json!({"triggerName": "pulse", "triggerType": "timer", "triggerConfig": {"cronExpression": "@every 1s", "payload": "tick"}});
    signer.done(Method::POST, &format!("{path}/triggers"), timer.clone()).await;
    let event: Json = serde_json::from_str(&relayed.text().await).unwrap();
    assert_eq!((&event["triggerName"], &event["payload"]), (&json!("pulse"), &json!("tick")));
    assert_eq!(signer.refused(Method::POST, &format!("{path}/triggers"), timer).await, refusal(409, "TriggerAlreadyExists"));
    assert_eq!(signer.refused(Method::DELETE, path, Json::Null).await, refusal(409, "FunctionNotEmpty"));
    for wrong in [json!({"cronExpression": "every day"}), json!({"cronExpression": "@every 1s", "enable": false}), json!({"methods": []})] {
        let changed = json!({"triggerConfig": wrong});
        assert_eq!(
            signer.refused(Method::PUT, &format!("{path}/triggers/pulse"), changed).await,
            refusal(400, "InvalidArgument"),
            "{wrong}"
        );
    }
    signer.done(Method::DELETE, &format!("{path}/triggers/pulse"), Json::Null).await;
    assert_eq!(signer.done(Method::GET, &format!("{path}/triggers"), Json::Null).await, json!({"triggers": []}));

    let mut told = gw.listen("/told");
    let config = json!({"maxAsyncRetryAttempts": 0, "destinationConfig": {"onSuccess": {"destination": "/told"}}});
    let path = "/services/app.LATEST/functions/relay";
    assert_eq!(signer.refused(Method::GET, &format!("{path}/async-invoke-config"), Json::Null).await, refusal(404, "AsyncConfigNotExists"));
    signer.done(Method::PUT, &format!("{path}/async-invoke-config"), config.clone()).await;
    let got = signer.done(Method::GET, &format!("{path}/async-invoke-config"), Json::Null).await;
    assert_eq!((&got["maxAsyncRetryAttempts"], &got["destinationConfig"]), (&json!(0), &config["destinationConfig"]));
    let kind = [("x-fc-invocation-type", "Async")];
    let answer = signer.send_but(Method::POST, &format!("/2016-08-15{path}/invocations"), "later", &kind, Wrong::default()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    assert!(told.text().await.contains("requestContext"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_a_function_that_is_there() {
    let gw = gateway().function_of("app/relay", "relay").function_of("app/count", "count").start().await;
    let signer = Signer::of(&gw, "admin").await;
    signer.done(Method::POST, "/services/app/versions", Json::Null).await;
    signer.done(Method::POST, "/services/app/aliases", json!({"aliasName": "live", "versionId": "1"})).await;
    let path = "/services/app/functions/relay/async-invoke-config";
    let to = |member: &str, destination: &str| json!({"destinationConfig": {member: {"destination": destination}}});
    for service in ["app", "app.LATEST", "app.1", "app.live"] {
        let arn = format!("acs:fc:cn-shanghai:1234567890123456:services/{service}/functions/count");
        signer.done(Method::PUT, path, to("onFailure", &arn)).await;
    }
    let kept = signer.done(Method::GET, path, Json::Null).await;
    for (service, function) in [("app", "gone"), ("gone", "count"), ("app.2", "count"), ("app.gone", "count")] {
        for member in ["onSuccess", "onFailure"] {
            let (status, said) =
                signer.ask(Method::PUT, path, to(member, &format!("acs:fc:::services/{service}/functions/{function}"))).await;
            assert_eq!((status, &said["ErrorCode"]), (400, &json!("InvalidArgument")), "{said}");
            let message = said["ErrorMessage"].as_str().unwrap();
            let wanted = [member, &format!("services/{service}/functions/{function}"), &format!("`{service}/{function}`")];
            assert!(wanted.iter().all(|wanted| message.contains(wanted)), "{message}");
        }
    }
    assert_eq!(signer.done(Method::GET, path, Json::Null).await, kept);
    // As long as it is one, it stays.
    let arn = "acs:fc:::services/app/functions/count";
    signer.done(Method::PUT, path, to("onFailure", arn)).await;
    let (status, said) = signer.ask(Method::DELETE, "/services/app/functions/count", Json::Null).await;
    assert!(status == 400 && said["ErrorMessage"].as_str().unwrap().contains("`async.on_failure` is function `app/count`"), "{said}");
    // What is not there itself is told first.
    let absent = "/services/app/functions/absent/async-invoke-config";
    assert_eq!(
        signer.refused(Method::PUT, absent, to("onSuccess", "acs:fc:::services/app/functions/gone")).await,
        refusal(404, "FunctionNotFound")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_trigger_answers_the_methods_that_it_names() {
    let gw = gateway().http_listen("http://127.0.0.1:0").start().await;
    let signer = Signer::of(&gw, "admin").await;
    signer.done(Method::POST, "/services", json!({"serviceName": "web"})).await;
    let given = json!({"functionName": "hello", "runtime": "custom", "code": code("http-hello")});
    signer.done(Method::POST, "/services/web/functions", given).await;
    assert_eq!(gw.get("/web/hello").await.status, 401, "until there is a trigger it is users' alone");
    let trigger = json!({"triggerName": "web", "triggerType": "http", "triggerConfig": {"authType": "anonymous", "methods": ["GET"]}});
    signer.done(Method::POST, "/services/web/functions/hello/triggers", trigger).await;
    assert_eq!(gw.get("/web/hello").await.status, 200);
    let post = gw.request("POST", "/web/hello").body(crate::harness::http::whole("")).unwrap();
    let refused = gw.send(post).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET")));
    signer.done(Method::DELETE, "/services/web/functions/hello/triggers/web", Json::Null).await;
    assert_eq!(gw.get("/web/hello").await.status, 401);
    signer.done(Method::DELETE, "/services/web/functions/hello", Json::Null).await;
}

/// What a component is not made for is said in words of this API. Those on ledge.toml are for `ledge deploy`.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_another_kind_is_refused_by_what_it_exports() {
    let (_gw, signer) = with_echo().await;
    let trigger = json!({"triggerName": "web", "triggerType": "http", "triggerConfig": {"authType": "anonymous"}});
    for (path, body, wanted) in [
        (
            "/functions/echo/triggers",
            trigger,
            ["is given an HTTP trigger", "wasi:http/incoming-handler@0.2.x", "`ledge:edge/handler@0.1.0`"],
        ),
        (
            "/functions",
            json!({"functionName": "x", "code": code("http-hello")}),
            ["answers HTTP requests", "wasi:http/incoming-handler", "`custom`"],
        ),
        (
            "/functions",
            json!({"functionName": "x", "code": code("stay")}),
            ["lives as long", "ledge:edge/persistent", "`ledge deploy` alone"],
        ),
        ("/functions", json!({"functionName": "x", "code": code("reporter")}), ["it is a driver", "it is deployed as a function", "app/x"]),
    ] {
        let (status, said) = signer.ask(Method::POST, &format!("/services/app{path}"), body).await;
        assert_eq!((status, &said["ErrorCode"]), (400, &json!("InvalidArgument")), "{said}");
        let message = said["ErrorMessage"].as_str().unwrap();
        assert!(wanted.iter().all(|wanted| message.contains(wanted)) && !message.contains("ledge.toml"), "{message}");
    }
    assert_eq!(signer.done(Method::GET, "/services/app/functions/echo/triggers", Json::Null).await, json!({"triggers": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_signed_by_a_key_that_is_there_is_let_in() {
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    let path = "/2016-08-15/services";
    let create = || json!({"serviceName": "app"}).to_string();
    let wrong = |wrong| signer.send_but(Method::POST, path, create(), &[("x-fc-trace-id", "1")], wrong);
    let other = Signer { client: gw.stranger(), id: signer.id.clone(), secret: "other".into() };
    let nobody = Signer { client: gw.stranger(), id: "LK00".into(), secret: signer.secret.clone() };
    for answer in [
        other.send(Method::POST, path, create()).await,
        nobody.send(Method::POST, path, create()).await,
        wrong(Wrong { date: Some(date(-16)), ..Wrong::default() }).await,
        wrong(Wrong { date: Some(date(16)), ..Wrong::default() }).await,
        wrong(Wrong { path: Some("/2016-08-15/services/"), ..Wrong::default() }).await,
        wrong(Wrong { headers: &[("x-fc-invocation-type", "Async")], ..Wrong::default() }).await,
        wrong(Wrong { headers: &[("x-fc-trace-id", "2")], ..Wrong::default() }).await,
    ] {
        let status = answer.status.as_u16();
        assert!(status == 403 || status == 404, "{:?}", answer.body);
        assert!(status == 404 || body_of(&answer)["ErrorCode"] == "SignatureNotMatch", "{:?}", answer.body);
    }
    for wrong_one in [
        Wrong { date: Some("yesterday".into()), ..Wrong::default() },
        Wrong { body: Some(b"{\"serviceName\": \"eve\"}"), ..Wrong::default() },
    ] {
        let answer = wrong(wrong_one).await;
        assert_eq!(answer.status, 400, "{:?}", answer.body);
    }
    let answer = gw.stranger().send(Method::GET, path, &[(AUTHORIZATION, "FC x")], "".into()).await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(signer.done(Method::GET, "/services", Json::Null).await, json!({"services": []}), "nothing of that was done");
    for minutes in [-14, 14] {
        assert_eq!(signer.send_but(Method::GET, path, "", &[], Wrong { date: Some(date(minutes)), ..Wrong::default() }).await.status, 200);
    }
    // What is signed is unescaped: no other path or query may come out as this one.
    for (signed, sent) in [
        ("/2016-08-15/services/app/functions", "/2016-08-15/services/app%2Ffunctions"),
        ("/2016-08-15/services/a%2Fb", "/2016-08-15/services/a%2Fb"),
        ("/2016-08-15/services/a%0Ab", "/2016-08-15/services/a%0Ab"),
        ("/2016-08-15/services/a", "/2016-08-15/services/a%FF"),
        ("/ledge/v1/versions", "/ledge/v1/versions?a=1%0Ab=2"),
    ] {
        let answer = signer.send_but(Method::GET, signed, "", &[], Wrong { path: Some(sent), ..Wrong::default() }).await;
        assert!(answer.status == 400 && String::from_utf8_lossy(&answer.body).contains("an escaped `/`"), "{sent}: {:?}", answer.body);
    }
    for sent in ["/2016-08-15/services/../users", "/2016-08-15/./services", "/2016-08-15//services"] {
        assert_eq!(signer.send(Method::GET, sent, "").await.status, 404, "{sent}");
    }
    // Elsewhere the query is signed with the path. Where there is none, its place may be left out.
    for (sent, expected) in [("/ledge/v1/gateway", 200), ("/ledge/v1/gateway?", 200), ("/ledge/v1/gateway?a=b", 403)] {
        let answer = signer.send_but(Method::GET, "/ledge/v1/gateway", "", &[], Wrong { path: Some(sent), ..Wrong::default() }).await;
        assert_eq!(answer.status, expected, "{sent}");
    }
    gw.audited("login failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_what_its_user_may_and_ends_with_it() {
    let gw = gateway().function("misbehave").start().await;
    let put = async |name: &str, rights: Json| {
        let answer = gw.admin().send(Method::PUT, &format!("/ledge/v1/users/{name}"), &[], rights.to_string().into()).await.unwrap();
        assert!(answer.status.is_success(), "{:?}", answer.body);
    };
    put("op", json!({"role": "operator", "password": PASSWORD})).await;
    put("keeper", json!({"role": "admin", "permissions": ["users"], "password": PASSWORD})).await;
    let op = Signer::of(&gw, "op").await;
    let invoke = "/services/test/functions/misbehave/invocations";
    assert_eq!(op.ask(Method::POST, invoke, json!(1)).await, (200, json!(1)));
    assert_eq!(op.refused(Method::POST, "/services", json!({"serviceName": "a"})).await, refusal(403, "AccessDenied"));
    put("op", json!({"role": "viewer"})).await;
    assert_eq!(op.refused(Method::POST, invoke, json!(1)).await, refusal(403, "AccessDenied"));
    assert_eq!(op.ask(Method::GET, "/services", Json::Null).await.0, 200);

    // Nobody gets more than they have by way of somebody else's key.
    let keeper = gw.stranger().with_password("keeper", PASSWORD);
    let answer = keeper.send(Method::POST, "/ledge/v1/users/admin/access-keys", &[], "".into()).await.unwrap();
    assert_eq!(answer.status, 403);
    for _ in 1..10 {
        Signer::of(&gw, "op").await;
    }
    let keys = "/ledge/v1/users/op/access-keys";
    assert_eq!(gw.admin().send(Method::POST, keys, &[], "".into()).await.unwrap().status, 409);
    let listed = gw.admin().send(Method::GET, keys, &[], "".into()).await.unwrap();
    assert_eq!(body_of(&listed).as_array().unwrap().len(), 10);
    assert!(!String::from_utf8_lossy(&listed.body).contains(&op.secret));

    let gw = gw.restart().await;
    let op = Signer { client: gw.stranger(), ..op };
    assert_eq!(op.ask(Method::GET, "/services", Json::Null).await.0, 200, "a key outlives a restart");
    let database = std::fs::read(gw.path("ledge.redb")).unwrap();
    assert!(!database.windows(op.secret.len()).any(|window| window == op.secret.as_bytes()), "the secret is sealed on the disk");
    let deleted = gw.admin().send(Method::DELETE, "/ledge/v1/users/op", &[], "".into()).await.unwrap();
    assert_eq!(deleted.status, 200);
    assert_eq!(op.refused(Method::GET, "/services", Json::Null).await, refusal(403, "SignatureNotMatch"));
    let again = json!({"role": "viewer", "password": PASSWORD}).to_string();
    gw.admin().send(Method::PUT, "/ledge/v1/users/op", &[], again.into()).await.unwrap();
    assert_eq!(op.refused(Method::GET, "/services", Json::Null).await, refusal(403, "SignatureNotMatch"), "the next of that name has none");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_deleted_on_the_command_line() {
    let gw = gateway().start().await;
    let said = async |args: &str| {
        let args: Vec<&str> = args.split(' ').chain(["--data", "."]).collect();
        let ran = ledge(gw.data.path(), &args).await;
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.stdout
    };
    let made = said("user key add admin").await;
    let after = |what: &str| made.lines().find_map(|line| line.strip_prefix(what)).unwrap().to_owned();
    let (id, secret) = (after("access key id: "), after("access key secret (shown once): "));
    let signer = Signer { client: gw.stranger(), id: id.clone(), secret: secret.clone() };
    assert_eq!(signer.ask(Method::GET, "/services", Json::Null).await.0, 200);
    let listed = said("user key list admin").await;
    assert!(listed.contains(&id) && !listed.contains(&secret), "{listed}");
    said(&format!("user key delete admin {id}")).await;
    assert_eq!(said("user key list admin").await, "");
    assert_eq!(signer.refused(Method::GET, "/services", Json::Null).await, refusal(403, "SignatureNotMatch"));
    let unknown = ledge(gw.data.path(), &["user", "key", "delete", "admin", &id, "--data", "."]).await;
    assert!(unknown.code == 1 && unknown.stderr.contains("ledge user key list admin"), "{unknown:?}");
    assert!(!gw.audit().contains(&secret));
    eventually("the audit of keys", || async { gw.audit().contains("access key added") && gw.audit().contains("access key deleted") })
        .await;
}

/// Needs the package `aliyun-fc2`.
#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_own_client_deploys_and_invokes() {
    let Some(python) = python_with("fc2").await else { return };
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    let wasm = gw.path("echo.wasm");
    std::fs::write(&wasm, component("misbehave")).unwrap();
    let env = [
        ("REQUESTS_CA_BUNDLE", gw.gateway.certificate.display().to_string()),
        ("SCRIPT", repository().join("tests/fc_sdk.py").display().to_string()),
        ("URL", gw.url()),
        ("ID", signer.id.clone()),
        ("SECRET", signer.secret.clone()),
        ("WASM", wasm.display().to_string()),
    ];
    let ran = shell(&format!("{python} \"$SCRIPT\" \"$URL\" \"$ID\" \"$SECRET\" \"$WASM\""), gw.data.path(), &env).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("clean_up: ok"), "{}", ran.stdout);
}

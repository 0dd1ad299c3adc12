//! Versions, aliases, going back; and health checks, which go back by themselves.

use hyper::Method;
use ledge::function::{Invocation, InvokeError, Outcome};
use ledge::set::{Health, Mode, RouteSource, RouteTopic};
use serde_json::{Value as Json, json};

use crate::harness::client::json as body_of;
use crate::harness::command::ledge;
use crate::harness::{Setup, TestGateway, eventually, gateway};

/// A function `test/look` that can say which version it is.
fn look(version: &str) -> Setup {
    gateway().function("look").grants(|grants| grants.env.0 = [("VERSION".to_owned(), version.to_owned())].into())
}

/// What a name leads to now.
async fn version(gw: &TestGateway, name: &str) -> String {
    let vars: Json = serde_json::from_str(&gw.result(name, "env").await).unwrap();
    vars["VERSION"].as_str().unwrap().to_owned()
}

async fn send(gw: &TestGateway, method: Method, path: &str, body: Json) -> (u16, Json) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = gw.admin().send(method, path, &[], body.into()).await.unwrap();
    (answer.status.as_u16(), body_of(&answer))
}

async fn said(gw: &TestGateway, args: &str) -> String {
    let args: Vec<&str> = args.split(' ').chain(["--data", "."]).collect();
    let ran = ledge(gw.data.path(), &args).await;
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran.stdout
}

/// A health check of `misbehave`, which echoes.
fn checked(setup: Setup, health: Health) -> Setup {
    setup.with_function(|function| function.health = Some(health))
}

fn health(event: &str, expect: &str, first_calls: u32) -> Health {
    Health { event: Some(event.into()), expect: Some(expect.into()), first_calls }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_version_stays_what_it_was_and_an_alias_leads_to_two_by_weight() {
    let gw = look("1").start().await;
    assert!(said(&gw, "version publish test").await.contains("version 1"));
    gw.deploy(look("2")).await.unwrap();
    said(&gw, "version publish test --description second").await;
    gw.deploy(look("3")).await.unwrap();
    said(&gw, "alias set test live 1 --also 2=10").await;
    let gw = gw.restart().await;
    assert_eq!((version(&gw, "look").await.as_str(), gw_version(&gw, "1").await.as_str()), ("3", "1"));
    assert_eq!(gw_version(&gw, "LATEST").await, "3");
    let mut second = 0;
    for _ in 0..100 {
        second += usize::from(gw_version(&gw, "live").await == "2");
    }
    assert_eq!(second, 10, "of a hundred calls");
    assert!(said(&gw, "list versions").await.contains("second"));
    assert!(said(&gw, "list aliases").await.contains("live"));
    // One to which an alias leads is not deleted, and no number is given twice.
    let (code, refused) = send(&gw, Method::DELETE, "/ledge/v1/versions/test/2", Json::Null).await;
    assert!(code == 409 && refused["message"].as_str().unwrap().contains("alias `live`"), "{refused}");
    said(&gw, "alias set test live 1").await;
    said(&gw, "version delete test 2").await;
    assert!(said(&gw, "version publish test").await.contains("version 3"));
    said(&gw, "alias delete test live").await;
    assert!(matches!(gw.invoke_named("test.live/look", "env").await, Err(InvokeError::UnknownFunction(_))));
}

async fn gw_version(gw: &TestGateway, qualifier: &str) -> String {
    let Outcome::Done(result) = gw.invoke_named(&format!("test.{qualifier}/look"), "env").await.unwrap() else { panic!("it failed") };
    serde_json::from_slice::<Json>(&result).unwrap()["VERSION"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_to_aliases_and_versions_share_what_their_function_keeps() {
    let all = || RouteSource::Function("test/relay".parse().unwrap());
    let everything = |setup: Setup| {
        setup.grants(|grants| {
            grants.publish = vec!["#".parse().unwrap()];
            grants.subscribe = vec!["#".parse().unwrap()];
        })
    };
    let gw = everything(everything(gateway().function("counter").function("relay")).function_of("test/second", "relay")).start().await;
    assert_eq!(gw.result("counter", "key").await, "1");
    said(&gw, "version publish test").await;
    said(&gw, "alias set test live 1").await;
    assert_eq!(gw.invoke_named("test.live/counter", "key").await.unwrap(), Outcome::Done("2".into()));
    let route = |target: &str| gateway().route(all(), RouteTopic::Filter("/relay/relay".parse().unwrap()), target);
    gw.deploy(route("test.live/second")).await.unwrap();
    let mut routed = gw.listen("/relay/second");
    gw.result("relay", "x").await;
    routed.next().await;
    let refused = format!("{:?}", gw.deploy(route("test.other/second")).await.unwrap_err());
    assert!(refused.contains("test.other/second"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_versions_is_said() {
    let gw = look("1").start().await;
    let table = [
        (Method::POST, "/ledge/v1/versions/none", Json::Null, 404),
        (Method::POST, "/ledge/v1/versions/test", json!({"name": 1}), 400),
        (Method::DELETE, "/ledge/v1/versions/test/7", Json::Null, 404),
        (Method::DELETE, "/ledge/v1/versions/test/x", Json::Null, 400),
        (Method::PUT, "/ledge/v1/aliases/test/live", json!({"version": 1}), 404),
        (Method::DELETE, "/ledge/v1/aliases/test/live", Json::Null, 404),
        (Method::POST, "/ledge/v1/functions/test/look/rollback", Json::Null, 409),
        (Method::POST, "/ledge/v1/functions/test/none/rollback", Json::Null, 404),
    ];
    for (method, path, body, wanted) in table {
        let (code, answer) = send(&gw, method, path, body).await;
        assert!(code == wanted && !answer["message"].as_str().unwrap().is_empty(), "{path}: {code} {answer}");
    }
    said(&gw, "version publish test").await;
    for wrong in
        [json!({"version": 1, "also": {"version": 1, "percent": 10}}), json!({"version": 1, "also": {"version": 2, "percent": 10}})]
    {
        assert!(send(&gw, Method::PUT, "/ledge/v1/aliases/test/live", wrong).await.0 >= 400);
    }
    for name in ["LATEST", "5", "a.b"] {
        assert_eq!(send(&gw, Method::PUT, &format!("/ledge/v1/aliases/test/{name}"), json!({"version": 1})).await.0, 400, "{name}");
    }
    let qualified = format!("{:?}", gw.deploy(gateway().function_of("test.1/look", "look")).await.unwrap_err());
    assert!(qualified.contains("without a version"), "{qualified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_two_that_were_deployed_can_be_gone_back_to_over_a_restart() {
    let gw = look("1").start().await;
    for version in ["2", "3", "4"] {
        gw.deploy(look(version)).await.unwrap();
    }
    let gw = gw.restart().await;
    assert!(said(&gw, "rollback test/look").await.contains("test/look"));
    assert_eq!(version(&gw, "look").await, "3");
    gw.audited(r#""who":"user admin from"#).await;
    let gw = gw.restart().await;
    assert_eq!(version(&gw, "look").await, "3");
    said(&gw, "rollback test/look").await;
    assert_eq!(version(&gw, "look").await, "2");
    let (code, refused) = send(&gw, Method::POST, "/ledge/v1/functions/test/look/rollback", Json::Null).await;
    assert!(code == 409 && refused["message"].as_str().unwrap().contains("nothing to go back to"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_its_health_check_is_not_deployed_and_nothing_of_its_deployment_is() {
    let gw = checked(gateway().function("misbehave"), health("ping", "ping", 0)).start().await;
    let refused = async |event: &str, expect: &str| {
        let setup = checked(gateway().function("misbehave"), health(event, expect, 0)).function("count");
        format!("{:?}", gw.deploy(setup).await.unwrap_err())
    };
    assert!(refused("ping", "pong").await.contains("its result is `ping`, and `pong` was expected"));
    assert!(refused("error", "").await.contains("as asked"));
    assert!(refused("trap", "").await.contains("fails its health check"));
    assert_eq!(gw.result("misbehave", "still here").await, "still here");
    assert!(gw.invoke("count", "").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_first_calls_all_fail_goes_back_by_itself_and_says_so() {
    let gw = gateway().function_of("test/f", "look").start().await;
    let bad = || checked(gateway().function_of("test/f", "misbehave"), health("ping", "ping", 3));
    gw.deploy(bad()).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(gw.invoke("f", "trap").await.unwrap(), Outcome::Unhandled(_)));
    }
    eventually("the old one to be back", || async {
        matches!(gw.invoke("f", "env").await, Ok(Outcome::Done(result)) if result.starts_with(b"{"))
    })
    .await;
    gw.audited("its first 3 calls failed").await;
    // One that worked once stays, whatever follows.
    gw.deploy(bad()).await.unwrap();
    assert_eq!(gw.result("f", "hello").await, "hello");
    for _ in 0..3 {
        assert!(matches!(gw.invoke("f", "trap").await.unwrap(), Outcome::Unhandled(_)));
    }
    assert_eq!(gw.result("f", "hello").await, "hello");
    // And so does one with nothing before it.
    let new = || checked(gateway().function_of("test/new", "misbehave"), health("ping", "ping", 1));
    gw.deploy(new()).await.unwrap();
    assert!(matches!(gw.invoke("new", "trap").await.unwrap(), Outcome::Unhandled(_)));
    assert_eq!(gw.result("new", "hello").await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_better_deployment_has_replaced_takes_nothing_back() {
    let gw = gateway().function_of("test/f", "look").start().await;
    let bad = |env: &str| {
        let setup = checked(gateway().function_of("test/f", "misbehave"), health("ping", "ping", 2));
        setup.grants(|grants| grants.env.0 = [("TRY".to_owned(), env.to_owned())].into())
    };
    gw.deploy(bad("1")).await.unwrap();
    let old = gw.gateway.functions.get(&"test/f".parse().unwrap()).unwrap();
    gw.deploy(bad("2")).await.unwrap();
    for _ in 0..2 {
        let call = Invocation::new(old.name.clone(), "trap");
        let old = old.clone();
        gw.gateway.guests().spawn(async move { old.admit_and_run(call).await }).await.unwrap().unwrap();
    }
    // The same component with another configuration is another deployment.
    assert_eq!(gw.result("f", "hello").await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_function_whose_first_instances_end_goes_back() {
    let stay = |how: &str| {
        let setup = gateway().function("stay").with_function(|function| function.mode = Mode::Persistent);
        let setup = setup.grants(|grants| grants.env.0 = [("RUN".to_owned(), how.to_owned())].into());
        checked(setup, Health { event: None, expect: None, first_calls: 3 })
    };
    let gw = stay("returns").start().await;
    gw.deploy(stay("fails")).await.unwrap();
    let is_back = || async { gw.gateway.deploy.went_back(&"test/stay".parse().unwrap()).is_some() };
    eventually("it to have gone back", is_back).await;
    assert_eq!(gw.result("stay", "context").await, "test/stay true");
    assert!(said(&gw, "list functions").await.contains("its first 3 instances failed"));
    let gw = gw.restart().await;
    assert!(said(&gw, "list functions").await.contains("its first 3 instances failed"));
    gw.deploy(stay("returns")).await.unwrap();
    assert!(!said(&gw, "list functions").await.contains("its first 3 instances failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_is_not_refused_for_what_was_made_for_what_comes_after() {
    let gw = gateway().function("relay").start().await;
    let granted = || gateway().function("relay").grants(|grants| grants.subscribe = vec!["#".parse().unwrap()]);
    gw.deploy(granted()).await.unwrap();
    gw.deploy(gateway().route(RouteSource::Device("#".parse().unwrap()), RouteTopic::All, "test/relay")).await.unwrap();
    assert!(said(&gw, "rollback test/relay").await.contains("test/relay"));
    // Nor is what has nothing to do with it. Another mistake of the same kind is.
    gw.deploy(gateway().function("count")).await.unwrap();
    assert_eq!(gw.result("count", "").await, "1");
    let another = || gateway().route(RouteSource::Device("a/b".parse().unwrap()), RouteTopic::All, "test/count");
    assert!(gw.deploy(another()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_function_is_checked_in_an_instance_of_its_own_first() {
    let stay = |expect: &str| {
        checked(gateway().function("stay").with_function(|function| function.mode = Mode::Persistent), health("context", expect, 0))
    };
    let gw = stay("test/stay true").start().await;
    assert_eq!(gw.result("stay", "").await, "1", "the check was another instance");
    let refused = format!("{:?}", gw.deploy(stay("something else")).await.unwrap_err());
    assert!(refused.contains("health check"), "{refused}");
    assert_eq!(gw.result("stay", "").await, "2");
    said(&gw, "version publish test").await;
    assert_eq!(gw.invoke_named("test.1/stay", "").await.unwrap(), Outcome::Done("1".into()));
}

//! `ledge deploy` by the same API and its keys, to a gateway elsewhere.

use std::fs;
use std::path::Path;

use hyper::Method;
use serde_json::{Value as Json, json};

use super::signer::Signer;
use super::{code, refusal};
use crate::harness::command::{Output, command};
use crate::harness::{PASSWORD, TestGateway, component, gateway};

/// A user with an access key.
async fn user(gw: &TestGateway, name: &str, mut rights: Json) -> Signer {
    rights["password"] = PASSWORD.into();
    let answer = gw.admin().send(Method::PUT, &format!("/ledge/v1/users/{name}"), &[], rights.to_string().into()).await.unwrap();
    assert!(answer.status.is_success(), "{:?}", answer.body);
    Signer::of(gw, name).await
}

/// A project of one function, `app/count`.
fn project(dir: &Path, limits: &str) {
    fs::write(dir.join("count.wasm"), component("count")).unwrap();
    fs::write(dir.join("ledge.toml"), format!("[functions.\"app/count\"]\ncomponent = \"count.wasm\"\n{limits}")).unwrap();
}

/// Runs `ledge` against the gateway's TLS address, with this in the environment.
async fn far(gw: &TestGateway, dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let (url, fingerprint) = (gw.url(), gw.gateway.fingerprint.clone());
    let args = [args, &["--gateway", &url, "--fingerprint", &fingerprint]].concat();
    let output = command(dir, &args).envs(env.iter().copied()).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn key(signer: &Signer) -> [(&str, &str); 2] {
    [("LEDGE_ACCESS_KEY_ID", &signer.id), ("LEDGE_ACCESS_KEY_SECRET", &signer.secret)]
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_deploy_does_so_with_an_access_key_and_nobody_else() {
    let gw = gateway().start().await;
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), "");
    let deployer = user(&gw, "deployer", json!({"role": "admin", "permissions": ["deploy", "functions.read"]})).await;
    let op = user(&gw, "op", json!({"role": "operator"})).await;
    let other = "x".repeat(deployer.secret.len());
    let [id, secret] = key(&deployer);
    for (env, wanted) in [
        (vec![id, (secret.0, other.as_str())], "are the id and the secret right?"),
        (key(&op).to_vec(), "user `op` may not do this: it needs `deploy`"),
        (vec![id], "LEDGE_ACCESS_KEY_SECRET is not"),
        (vec![secret], "LEDGE_ACCESS_KEY_ID is not"),
        (vec![], "LEDGE_ACCESS_KEY_ID"),
        (vec![("LEDGE_PASSWORD", "wrong wrong wrong")], "does not accept this user name and password"),
    ] {
        let output = far(&gw, dir.path(), &["deploy"], &env).await;
        assert!(output.code == 1 && output.stderr.contains(wanted), "nothing of {wanted} in {output:?}");
        assert!(!output.stderr.contains(&deployer.secret) && !output.stderr.contains(&op.secret));
    }
    assert!(gw.gateway.deploy.current().functions.is_empty(), "one of them deployed");
    assert_eq!(fs::read_dir(gw.path("components")).unwrap().count(), 0, "one of them sent something");

    let output = far(&gw, dir.path(), &["deploy"], &key(&deployer)).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("new      function app/count"), "{}", output.stdout);
    assert_eq!(gw.invoke_named("app/count", "").await.map(|_| ()).ok(), Some(()));
    gw.audited(&format!("user deployer with key {} from 127.0.0.1", deployer.id)).await;
    // Every command signs: also those whose paths have queries and escaped names.
    let output = far(&gw, dir.path(), &["list", "functions"], &key(&deployer)).await;
    assert!(output.code == 0 && output.stdout.contains("app/count"), "{output:?}");
    let admin = Signer::of(&gw, "admin").await;
    for args in [&["user", "key", "list", "deployer"][..], &["dead-letters", "list", "--function", "app/count"]] {
        let output = far(&gw, dir.path(), args, &key(&admin)).await;
        assert_eq!(output.code, 0, "{args:?}: {output:?}");
    }
    let denied = far(&gw, dir.path(), &["user", "key", "list", "deployer"], &key(&deployer)).await;
    assert!(denied.code == 1 && denied.stderr.contains("it needs `users`"), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_project_is_said_in_words_of_its_manifest() {
    let gw = gateway().start().await;
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::of(&gw, "admin").await);
    for (more, wanted) in
        [("http = { prefix = \"/x\" }\n", "`http` in ledge.toml"), ("mode = \"persistent\"\n", "`mode = \"persistent\"` in ledge.toml")]
    {
        project(dir.path(), more);
        let output = far(&gw, dir.path(), &["deploy"], &key(&signer)).await;
        assert!(output.code == 1 && output.stderr.contains(wanted), "nothing of {wanted} in {output:?}");
        assert!(output.stderr.contains("`ledge:edge/handler@0.1.0`"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deployed_in_one_way_is_seen_and_changed_in_the_other() {
    let gw = gateway().start().await;
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::of(&gw, "admin").await;
    project(dir.path(), "");
    assert_eq!(far(&gw, dir.path(), &["deploy"], &key(&signer)).await.code, 0);
    let path = "/services/app/functions/count";
    let row = signer.done(Method::GET, path, Json::Null).await;
    assert_eq!((&row["functionName"], &row["timeout"], row.get("createdTime")), (&json!("count"), &json!(5), None));

    signer.done(Method::PUT, path, json!({"timeout": 9, "description": "counts"})).await;
    let given = json!({"functionName": "echo", "code": code("misbehave")});
    signer.done(Method::POST, "/services/app/functions", given).await;
    let output = far(&gw, dir.path(), &["deploy", "--dry-run"], &key(&signer)).await;
    assert!(output.stdout.contains("changed  function app/count"), "{output:?}");
    assert_eq!(signer.done(Method::GET, path, Json::Null).await["timeout"], 9, "a dry run changed it");
    project(dir.path(), "limits.deadline_ms = 7000\n");
    let output = far(&gw, dir.path(), &["deploy"], &key(&signer)).await;
    assert!(output.stdout.contains("changed  function app/count"), "{output:?}");
    let row = signer.done(Method::GET, path, Json::Null).await;
    assert_eq!((&row["timeout"], &row["description"]), (&json!(7), &json!("counts")));
    assert_eq!(signer.ask(Method::GET, "/services/app/functions/echo", Json::Null).await.0, 200, "it is not in the project, and stays");
    let output = far(&gw, dir.path(), &["deploy", "--prune"], &key(&signer)).await;
    assert!(output.stdout.contains("removed  function app/echo"), "{output:?}");
    assert_eq!(signer.refused(Method::GET, "/services/app/functions/echo", Json::Null).await, refusal(404, "FunctionNotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_has_the_errors_and_the_signature_of_its_api() {
    let gw = gateway().start().await;
    let signer = Signer::of(&gw, "admin").await;
    let set = json!({"products": [], "things": [], "drivers": [], "functions": [], "routes": []});
    // Its queries say what is taken away: they are signed, so that nobody on the way changes them.
    let unsigned = signer.send(Method::POST, "/2016-08-15/deployments?prune=true", set.to_string()).await;
    assert_eq!((unsigned.status.as_u16(), &crate::harness::client::json(&unsigned)["ErrorCode"]), (403, &json!("SignatureNotMatch")));
    let send = async |path: &str, body: &str| {
        let answer = gw.admin().send(Method::POST, &format!("/2016-08-15/{path}"), &[], body.to_owned().into()).await.unwrap();
        (answer.status.as_u16(), crate::harness::client::json(&answer))
    };
    let (status, report) = send("deployments?dry_run=true", &set.to_string()).await;
    assert_eq!((status, &report["entries"]), (200, &json!([])));
    for (path, body) in [
        ("deployments", "{}"),
        ("deployments?colour=red", &set.to_string()),
        ("deployments?prune=maybe", &set.to_string()),
        ("deployments", "["),
        (
            "deployments",
            &set.to_string().replace("\"routes\":[]", "\"routes\":[{\"source\":{\"device\":\"#\"},\"topic\":\"all\",\"target\":\"a/b\"}]"),
        ),
    ] {
        let (status, said) = send(path, body).await;
        assert_eq!((status, &said["ErrorCode"]), (400, &json!("InvalidArgument")), "{path} {body}: {said}");
    }
    let digest = "0".repeat(64);
    let component = format!("/2016-08-15/components/{digest}");
    let answer = gw.admin().send(Method::GET, &component, &[], "".into()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &crate::harness::client::json(&answer)["ErrorCode"]), (404, &json!("ComponentNotFound")));
    let answer = gw.admin().send(Method::PUT, &component, &[], "something else".into()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &crate::harness::client::json(&answer)["ErrorCode"]), (400, &json!("InvalidArgument")));
    for gone in ["/ledge/v1/deployments", "/ledge/v1/components/x"] {
        assert_eq!(gw.admin().send(Method::POST, gone, &[], "".into()).await.unwrap().status, 404, "{gone}");
    }
}

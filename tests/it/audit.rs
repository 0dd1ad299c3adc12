//! The audit: who did what and from where is written down, and whatever is done to it afterwards is found.

use std::path::{Path, PathBuf};

use hyper::Method;
use hyper::header::{COOKIE, HeaderName};
use ledge::cli::client::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::fc_api::signer::Signer;
use crate::harness::client::post;
use crate::harness::command::{Output, Process, command, ledge};
use crate::harness::{ECHO, PASSWORD, TestGateway, data_dir, eventually, gateway, shared_key};

/// Waits for a line with this, and gives who did it and the detail.
async fn recorded(gw: &TestGateway, who: &str, what: &str, detail: &str) {
    let is_it = |line: &Json| line["who"] == who && line["what"] == what && line["detail"].as_str().unwrap().contains(detail);
    let lines = || gw.audit().lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()).any(|line| is_it(&line));
    eventually(&format!("the audit to say `{who}`, `{what}`, `{detail}`, in:\n{}", gw.audit()), || async { lines() }).await;
}

async fn send(client: &Client, method: Method, path: &str, body: Json) -> u16 {
    client.send(method, path, &[], body.to_string().into()).await.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_and_from_where_is_recorded() {
    let all = || vec!["#".parse().unwrap()];
    let setup = gateway().function_of("test/source", "relay").function("relay").grants(|grants| grants.subscribe = all());
    let gw = setup.echo_thing("echo-1").start().await;
    let admin = "user admin from 127.0.0.1";
    recorded(&gw, "gateway", "audit begun", "").await;
    recorded(&gw, "gateway", "started", &gw.gateway.fingerprint).await;
    recorded(&gw, "test", "deployed", "function test/relay new").await;

    let parameters = |password: &str| json!({"params": {"UserName": "admin", "Password": password}}).to_string();
    assert_eq!(post(&gw.stranger(), "/auth/login", &parameters("wrong wrong wrong")).await.0, 400);
    recorded(&gw, "client 127.0.0.1", "login failed", "admin").await;
    let answer = gw.stranger().send(Method::POST, "/auth/login", &[], parameters(PASSWORD).into()).await.unwrap();
    recorded(&gw, admin, "logged in", "password").await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let headers: &[(HeaderName, &str)] = &[(COOKIE, &cookie)];
    assert_eq!(gw.stranger().send(Method::POST, "/auth/logout", headers, r#"{"params": {}}"#.into()).await.unwrap().status, 200);
    recorded(&gw, admin, "logged out", "").await;

    let client = gw.admin();
    let eve = json!({"role": "viewer", "password": PASSWORD});
    assert_eq!(send(&client, Method::PUT, "/ledge/v1/users/eve", eve).await, 201);
    recorded(&gw, admin, "logged in", "HTTP Basic").await;
    recorded(&gw, admin, "user added", r#""name":"eve","role":"viewer""#).await;
    assert_eq!(send(&client, Method::PUT, "/ledge/v1/users/eve", json!({"role": "operator"})).await, 200);
    recorded(&gw, admin, "user changed", r#""role":"operator""#).await;
    assert_eq!(send(&client, Method::POST, "/ledge/v1/users/eve/password", json!({"new": PASSWORD})).await, 200);
    recorded(&gw, admin, "password changed", "eve").await;

    let as_eve = gw.stranger().with_password("eve", PASSWORD);
    assert_eq!(send(&as_eve, Method::GET, "/ledge/v1/users", json!({})).await, 403);
    recorded(&gw, "user eve from 127.0.0.1", "denied", "users").await;
    assert_eq!(send(&as_eve, Method::POST, "/ledge/v1/users/admin/password", json!({"new": PASSWORD})).await, 403);
    recorded(&gw, "user eve from 127.0.0.1", "denied", "the password of user admin").await;
    assert_eq!(send(&client, Method::DELETE, "/ledge/v1/users/eve", json!({})).await, 200);
    recorded(&gw, admin, "user deleted", "eve").await;

    assert_eq!(send(&client, Method::PUT, &format!("/ledge/v1/products/{ECHO}"), json!({"name": "another"})).await, 200);
    recorded(&gw, admin, "deployed", &format!("product {ECHO} changed")).await;
    let data = gw.data.path().to_str().unwrap().to_owned();
    let args = ["route", "add", "--function", "test/source", "--topic", "/a", "--to", "test/relay", "--data", &data];
    let added = ledge(gw.data.path(), &args).await;
    assert_eq!(added.code, 0, "{added:?}");
    recorded(&gw, "user admin from the local socket", "deployed", "route function test/source, /a -> test/relay new").await;
    let rule = json!({
        "type": "IFTTT",
        "trigger": {"uri": "trigger/timer", "params": {"everySeconds": 3_600}},
        "condition": {},
        "action": [{"uri": "action/mq/send", "params": {"topic": "/told"}}],
    });
    assert_eq!(send(&client, Method::PUT, "/ledge/v1/rules/r", json!({"rule": rule})).await, 200);
    recorded(&gw, admin, "deployed", "rule r new").await;
    assert_eq!(send(&client, Method::POST, "/ledge/v1/rules/r/disable", json!({})).await, 200);
    recorded(&gw, admin, "rule disabled", "r").await;
    assert!(!gw.audit().contains(PASSWORD));
    let verified = ledge(gw.data.path(), &["audit", "verify", "--data", &data, "--key-file", shared_key().to_str().unwrap()]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_changes_and_keys_are_recorded_as_deployments_are() {
    let gw = gateway().function("relay").start().await;
    let (client, admin) = (gw.admin(), "user admin from 127.0.0.1");
    assert_eq!(send(&client, Method::POST, "/2016-08-15/services", json!({"serviceName": "plant"})).await, 200);
    recorded(&gw, admin, "deployed", "service plant new").await;
    let config = "/2016-08-15/services/test/functions/relay/async-invoke-config";
    assert_eq!(send(&client, Method::PUT, config, json!({"maxAsyncRetryAttempts": 1})).await, 200);
    recorded(&gw, admin, "deployed", "function test/relay changed").await;
    assert_eq!(send(&client, Method::DELETE, "/2016-08-15/services/plant", json!({})).await, 204);
    recorded(&gw, admin, "deployed", "service plant removed").await;

    let made = client.send(Method::POST, "/ledge/v1/users/admin/access-keys", &[], "".into()).await.unwrap();
    let id = serde_json::from_slice::<Json>(&made.body).unwrap()["id"].as_str().unwrap().to_owned();
    recorded(&gw, admin, "access key added", &format!("{id} of admin")).await;
    let eve = json!({"role": "admin", "permissions": ["users"], "password": PASSWORD});
    assert_eq!(send(&client, Method::PUT, "/ledge/v1/users/eve", eve).await, 201);
    let key = format!("/ledge/v1/users/admin/access-keys/{id}");
    let as_eve = gw.stranger().with_password("eve", PASSWORD);
    assert_eq!(send(&as_eve, Method::DELETE, &key, json!({})).await, 403);
    recorded(&gw, "user eve from 127.0.0.1", "denied", "the access keys of user admin").await;
    assert_eq!(send(&client, Method::DELETE, &key, json!({})).await, 200);
    recorded(&gw, admin, "access key deleted", &id).await;
    // Each line says what it was about.
    assert!(!gw.audit().contains(r#""detail":"0 new, 0 changed, 0 removed"#), "{}", gw.audit());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_with_an_access_key_names_the_key() {
    let gw = gateway().start().await;
    let eve = json!({"role": "viewer", "password": PASSWORD});
    assert_eq!(send(&gw.admin(), Method::PUT, "/ledge/v1/users/eve", eve).await, 201);
    let (admins, eves) = (Signer::of(&gw, "admin").await, Signer::of(&gw, "eve").await);
    admins.done(Method::POST, "/services", json!({"serviceName": "plant"})).await;
    recorded(&gw, &format!("user admin with key {} from 127.0.0.1", admins.id), "deployed", "service plant new").await;
    assert_eq!(eves.refused(Method::DELETE, "/services/plant", Json::Null).await.0, 403);
    recorded(&gw, &format!("user eve with key {} from 127.0.0.1", eves.id), "denied", "deploy").await;
    // Another way in is none of a key.
    assert_eq!(send(&gw.admin(), Method::DELETE, "/2016-08-15/services/plant", json!({})).await, 204);
    recorded(&gw, "user admin from 127.0.0.1", "deployed", "service plant removed").await;
    let (data, key) = (gw.data.path().to_str().unwrap(), shared_key());
    let verified = ledge(gw.data.path(), &["audit", "verify", "--data", data, "--key-file", key.to_str().unwrap()]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// Nobody hides a change behind others.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_has_its_line_however_quickly_they_come() {
    let gw = gateway().start().await;
    let admin = gw.admin();
    assert_eq!(send(&admin, Method::PUT, "/ledge/v1/users/eve", json!({"role": "viewer", "password": PASSWORD})).await, 201);
    for number in 0..40 {
        let products = json!({"role": "viewer", "products": [format!("a1Change{number}")]});
        assert_eq!(send(&admin, Method::PUT, "/ledge/v1/users/eve", products).await, 200);
    }
    for number in 0..40 {
        recorded(&gw, "user admin from 127.0.0.1", "user changed", &format!("a1Change{number}\"")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_are_not_looked_at_are_recorded_and_do_not_fill_the_disk() {
    let gw = gateway().start().await;
    let eve = json!({"role": "viewer", "password": PASSWORD});
    assert_eq!(send(&gw.admin(), Method::PUT, "/ledge/v1/users/eve", eve).await, 201);
    let guess = json!({"params": {"UserName": "eve", "Password": "wrong wrong wrong"}}).to_string();
    let mut statuses = Vec::new();
    for _ in 0..100 {
        statuses.push(post(&gw.stranger(), "/auth/login", &guess).await.0);
    }
    assert_eq!(statuses[..5], [400; 5]);
    assert!(statuses.iter().filter(|status| **status == 503).count() > 80, "{statuses:?}");
    let by_basic = gw.stranger().with_password("eve", "wrong wrong again");
    assert_eq!(send(&by_basic, Method::GET, "/ledge/v1/things", json!({})).await, 401);
    let stranger = "client 127.0.0.1";
    recorded(&gw, stranger, "login failed", "eve").await;
    recorded(&gw, stranger, "login throttled", "eve; the next is looked at in").await;
    // The others are counted, and the count comes once a minute, or at the end.
    let gw = gw.restart().await;
    recorded(&gw, "clients", "suppressed", &format!("from {stranger}")).await;
    let lines = gw.audit().lines().filter(|line| line.contains(stranger) && line.contains("login")).count();
    assert!((6..=21).contains(&lines), "{lines} lines in:\n{}", gw.audit());
}

/// A gateway as a process with nothing on it, and its audit.
struct Audited {
    data: TempDir,
    project: PathBuf,
}

impl Audited {
    fn new() -> Self {
        let data = data_dir();
        let project = data.path().join("project");
        std::fs::create_dir(&project).unwrap();
        std::fs::write(project.join("ledge.toml"), "[project]\nname = \"audited\"\n").unwrap();
        Self { data, project }
    }

    async fn start(&self) -> Process {
        let (data, key) = (self.data.path(), shared_key());
        let [data, key, project] = [data, &key, &self.project].map(|path: &Path| path.to_str().unwrap());
        let args = ["up", project, "--data", data, "--key-file", key, "--listen", "127.0.0.1:0", "--gateway-monitor", "never"];
        let mut process = Process::start(command(self.data.path(), &args));
        process.line_with("project").await;
        process
    }

    async fn audit(&self, args: &[&str]) -> Output {
        let args = [&["audit"], args, &["--data", self.data.path().to_str().unwrap()]].concat();
        ledge(self.data.path(), &args).await
    }

    async fn verify(&self) -> Output {
        self.audit(&["verify", "--key-file", shared_key().to_str().unwrap()]).await
    }

    async fn users(&self, count: u32) {
        for number in 0..count {
            let name = format!("user-{number}");
            let args = ["user", "set", &name, "--role", "viewer", "--data", self.data.path().to_str().unwrap()];
            assert_eq!(ledge(self.data.path(), &args).await.code, 0);
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn log(&self) -> PathBuf {
        self.data.path().join("audit.log")
    }

    /// What the verification says to an audit with these lines; then it is as before.
    async fn verify_with(&self, lines: &[String]) -> Output {
        let before = std::fs::read(self.log()).unwrap();
        std::fs::write(self.log(), lines.concat()).unwrap();
        let output = self.verify().await;
        std::fs::write(self.log(), before).unwrap();
        output
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_the_audit_is_found_and_no_kill_is_an_alarm() {
    let gateway = Audited::new();
    assert_eq!(gateway.verify().await.code, 1);
    let process = gateway.start().await;
    gateway.users(3).await;
    // While it runs.
    let running = gateway.verify().await;
    assert!(running.code == 0 && running.stdout.contains("the audit is whole"), "{running:?}");
    process.signal("KILL");
    process.end().await;
    let killed = gateway.verify().await;
    assert!(killed.code == 0 && killed.stdout.contains("the audit is whole"), "{killed:?}");

    // Power loss in the middle of a line.
    let whole = gateway.lines();
    std::fs::write(gateway.log(), format!("{}{{\"seq\":{},\"ti", whole.concat(), whole.len() + 1)).unwrap();
    let torn = gateway.verify().await;
    assert!(torn.code == 0 && torn.stdout.contains("are no whole line"), "{torn:?}");
    let process = gateway.start().await;
    process.signal("TERM");
    process.end().await;
    let repaired = gateway.verify().await;
    let said = repaired.stdout.contains(&format!("number {}: the line after the one before it", whole.len() + 1));
    assert!(repaired.code == 0 && said, "{repaired:?}");

    let lines = gateway.lines();
    assert!(lines.len() >= 8 && lines.last().unwrap().contains("stopped"), "{lines:?}");
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines
    };
    let cases = [
        (changed(&|lines| lines[3] = lines[3].replace("viewer", "admin")), "line 4 of audit.log: number 4 is not as the gateway wrote it"),
        (changed(&|lines| drop(lines.remove(3))), "line 4 of audit.log: number 4, which was before it, is missing"),
        (changed(&|lines| lines.swap(3, 4)), "line 4 of audit.log: number 4, which was before it, is missing"),
        (changed(&|lines| lines.insert(5, lines[2].clone())), "line 6 of audit.log: number 3 does not belong here"),
        (changed(&|lines| lines.insert(2, "{}\n".to_owned())), "line 3 of audit.log: this is no line of the audit"),
        (changed(&|lines| drop(lines.pop())), "are missing at the end"),
        (changed(&|lines| lines.clear()), "are missing at the end"),
    ];
    for (lines, wanted) in cases {
        let output = gateway.verify_with(&lines).await;
        assert!(output.code == 1 && output.stderr.contains(wanted), "not `{wanted}`, but: {output:?}");
        assert!(!output.stdout.contains("whole"), "{output:?}");
    }
    assert_eq!(gateway.verify().await.code, 0);

    let shown = gateway.audit(&["show", "--last", "2"]).await;
    assert!(shown.code == 0 && shown.stdout.lines().count() == 3 && shown.stdout.contains("stopped"), "{shown:?}");
    let shown = gateway.audit(&["show", "--json", "--last", "1"]).await;
    assert_eq!(&shown.stdout, lines.last().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_audit_was_cut_says_so_when_it_starts() {
    let gateway = Audited::new();
    let process = gateway.start().await;
    process.signal("TERM");
    process.end().await;
    let lines = gateway.lines();
    let newest = gateway.verify().await.stdout.lines().find_map(|line| line.strip_prefix("newest: ").map(str::to_owned)).unwrap();
    std::fs::write(gateway.log(), lines[..2].concat()).unwrap();
    let process = gateway.start().await;
    process.signal("TERM");
    process.end().await;
    assert!(gateway.lines().concat().contains("audit changed"), "{:?}", gateway.lines());
    let output = gateway.verify().await;
    assert!(output.code == 1 && output.stderr.contains("line 3 of audit.log"), "{output:?}");
    // All of it is gone, and the gateway has begun another.
    for name in ["audit.log", "audit.head"] {
        std::fs::remove_file(gateway.data.path().join(name)).unwrap();
    }
    let process = gateway.start().await;
    process.signal("TERM");
    process.end().await;
    let output = gateway.verify().await;
    assert!(output.code == 1 && output.stderr.contains("number 1 of the audit says that it was changed earlier"), "{output:?}");
    let since = gateway.audit(&["verify", "--key-file", shared_key().to_str().unwrap(), "--since", &newest]).await;
    assert!(since.code == 1, "{since:?}");
}

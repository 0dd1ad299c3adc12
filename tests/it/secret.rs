//! Secrets that are planted wherever one comes in: afterwards they are nowhere in clear. Not in the log, however much it says, nor in the data
//! directory, in what is answered, in `Debug`, nor in what a crash leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, DATE, HeaderName, SET_COOKIE};
use ledge::cli::client::{Answer, Client};
use ledge::grant::Env;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::client::json as body_of;
use crate::harness::command::{Process, command_under, ledge};
use crate::harness::{Setup, gateway, shared_key};

/// A secret, and every form in which its text would be found out.
struct Secret {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    fn new(what: &'static str, secret: &[u8]) -> Self {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut forms = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
        // Within a longer text base64 writes it in one of three ways; its ends hang together with what is beside it.
        for before in 0..3 {
            let bytes = [vec![0; before], secret.to_vec()].concat();
            for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
                let text = engine.encode(&bytes);
                let inner = &text[if before == 0 { 0 } else { 4 }..text.len() - 4];
                forms.push(inner.as_bytes().to_vec());
            }
        }
        // As `Debug` shows bytes, and as JSON has them.
        let bytes = secret.iter().map(u8::to_string).collect::<Vec<_>>();
        forms.extend([bytes.join(", ").into_bytes(), bytes.join(",").into_bytes()]);
        Self { what, forms }
    }
}

/// What of these secrets is in a text, and where.
fn found<'a>(secrets: &'a [Secret], text: &[u8]) -> Option<(&'a str, usize)> {
    // Looking at two bytes first leaves few places to look at.
    let mut by_beginning: Vec<Vec<(&Secret, &[u8])>> = vec![vec![]; 1 << 16];
    let beginning = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    for secret in secrets {
        for form in &secret.forms {
            by_beginning[beginning(form)].push((secret, form));
        }
    }
    (0..text.len().saturating_sub(1)).find_map(|at| {
        let rest = &text[at..];
        let secret = by_beginning[beginning(rest)].iter().find(|(_, form)| rest.starts_with(form));
        secret.map(|(secret, _)| (secret.what, at))
    })
}

/// What was planted so far, and everything that was answered, but for the answers that tell a secret to the one whom it is for.
#[derive(Default)]
struct Plot {
    secrets: Vec<Secret>,
    answers: Vec<u8>,
}

impl Plot {
    fn plant<'a>(&mut self, what: &'static str, secret: &'a str) -> &'a str {
        self.secrets.push(Secret::new(what, secret.as_bytes()));
        secret
    }

    fn keep(&mut self, answer: &Answer) {
        self.answers.extend_from_slice(format!("{} {:?}\n", answer.status, answer.headers).as_bytes());
        self.answers.extend_from_slice(&answer.body);
        self.answers.push(b'\n');
    }

    fn is_nowhere_in(&self, place: &str, bytes: &[u8]) {
        if let Some((what, at)) = found(&self.secrets, bytes) {
            let around = String::from_utf8_lossy(&bytes[at.saturating_sub(200)..bytes.len().min(at + 100)]);
            panic!("{what} is in {place}: {around}");
        }
    }

    fn is_nowhere_below(&self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.is_nowhere_below(&path);
            } else if path.is_file() {
                self.is_nowhere_in(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }
}

const ADMIN: &str = "planted-for-admin-Kq7f";
const EVE: &str = "planted-for-eve-Zw31";
const EVE_LATER: &str = "planted-for-eve-later-Hb85";

/// A gateway as a process, with the most talkative log, that may leave a core behind.
struct Watched {
    data: TempDir,
    process: Process,
    address: String,
    fingerprint: String,
}

impl Watched {
    async fn start(data: TempDir) -> Self {
        fs::write(data.path().join("ledge.toml"), "[project]\nname = \"plot\"\n").unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(data.path().join("log")).unwrap();
        let (dir, key) = (data.path().to_str().unwrap(), shared_key());
        let key = key.to_str().unwrap();
        let args = ["up", dir, "--data", dir, "--key-file", key, "--listen", "127.0.0.1:0", "--gateway-monitor", "never"];
        let mut command = command_under("ulimit -S -c unlimited", data.path(), &args);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("LEDGE_ADMIN_PASSWORD", ADMIN);
        let mut process = Process::start_with_log(command, log);
        process.line_with("project").await;
        let after = |word: &str| process.said.split(word).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let (address, fingerprint) = (after("https://"), after("fingerprint"));
        Self { data, process, address, fingerprint }
    }

    fn stranger(&self) -> Client {
        Client::remote(&self.address, &self.fingerprint).unwrap()
    }

    fn admin(&self) -> Client {
        self.stranger().with_password("admin", ADMIN)
    }
}

async fn send(client: &Client, method: &str, path: &str, headers: &[(HeaderName, &str)], body: &str) -> Answer {
    client.send(method.parse().unwrap(), path, headers, body.to_owned().into()).await.unwrap()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A function whose environment has this.
fn secret_function(variable: &str, value: &str) -> Setup {
    let env = Env(BTreeMap::from([(variable.to_owned(), value.to_owned())]));
    gateway().function("look").grants(|grants| grants.env = env)
}

/// Users, their passwords and their cookies, right and wrong.
async fn users(plot: &mut Plot, gw: &Watched) -> String {
    let (admin, stranger) = (gw.admin(), gw.stranger());
    plot.plant("the password of admin", ADMIN);
    let eve = plot.plant("the password of eve", EVE);
    for body in [
        json!({"role": "viewer", "password": eve}).to_string(),
        json!({"role": "viewer", "passwort": eve}).to_string(),
        json!({"role": "viewer", "password": [eve]}).to_string(),
        json!({"role": "viewer", "password": eve}).to_string().replace('}', ""),
    ] {
        plot.keep(&send(&admin, "PUT", "/ledge/v1/users/eve", &[], &body).await);
    }
    let as_eve = stranger.clone().with_password("eve", eve);
    plot.keep(&send(&as_eve, "PUT", "/ledge/v1/users/mallory", &[], &json!({"role": "admin", "password": EVE_LATER}).to_string()).await);
    let later = plot.plant("the later password of eve", EVE_LATER);
    let wrong = plot.plant("a wrong old password", "planted-wrong-old-Pn40");
    for body in [json!({"old": wrong, "new": later}), json!({"old": eve, "new": later})] {
        plot.keep(&send(&as_eve, "POST", "/ledge/v1/users/eve/password", &[], &body.to_string()).await);
    }
    let made = send(&admin, "PUT", "/ledge/v1/users/made", &[], r#"{"role": "viewer"}"#).await;
    let password = body_of(&made)["password"].as_str().expect("no password was made").to_owned();
    plot.plant("the password that was made", &password);

    let login = |user: &str, password: &str| json!({"params": {"UserName": user, "Password": password}}).to_string();
    let wrong = plot.plant("a wrong password", "planted-wrong-Mx92");
    plot.keep(&send(&stranger, "POST", "/auth/login", &[], &login("admin", wrong)).await);
    plot.keep(&send(&stranger, "POST", "/auth/login", &[], &login("nobody", wrong)).await);
    plot.keep(&send(&stranger, "POST", "/auth/login", &[], &login("nobody", wrong).replace('}', "")).await);
    let wrong = plot.plant("a wrong password of HTTP Basic", "planted-wrong-Ty66");
    for path in ["/2020-04-30/auth/cookies", "/2020-04-30/things/search", "/thing/device/count"] {
        plot.keep(&send(&stranger, "POST", path, &[(AUTHORIZATION, &basic("admin", wrong))], "{}").await);
    }
    // Some type their password where the name belongs. What they are told has the name in it; nobody else is told.
    let typed = plot.plant("a password that was typed as a name", "planted-as-name-Gd18");
    send(&stranger, "POST", "/auth/login", &[], &login(typed, "")).await;
    plot.keep(&send(&stranger, "POST", "/2020-04-30/auth/cookies", &[(AUTHORIZATION, &basic(typed, "x"))], "").await);

    let v1 = send(&stranger, "POST", "/auth/login", &[], &login("eve", later)).await;
    let token = |answer: &Answer| {
        let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().trim_start_matches("token=").to_owned()
    };
    let ended = token(&v1);
    plot.plant("a cookie that has ended", &ended);
    let cookie = format!("token={ended}");
    plot.keep(&send(&stranger, "POST", "/thing/device/list-authed", &[(COOKIE, &cookie)], r#"{"params": {}}"#).await);
    plot.keep(&send(&stranger, "GET", "/ledge/v1/users", &[(COOKIE, &cookie)], "").await);
    plot.keep(&send(&stranger, "DELETE", &format!("/2020-04-30/auth/cookies/{ended}x"), &[(COOKIE, &cookie)], "").await);
    plot.keep(&send(&stranger, "DELETE", &format!("/2020-04-30/auth/cookies/{ended}"), &[(COOKIE, &cookie)], "").await);
    let live = token(&send(&stranger, "POST", "/2020-04-30/auth/cookies", &[(AUTHORIZATION, &basic("eve", later))], "").await);
    plot.plant("a cookie", &live);
    plot.keep(&send(&stranger, "GET", "/2020-04-30/things", &[(COOKIE, &format!("token={live}"))], "").await);
    live
}

/// Access keys, environments of functions, and keys of certificates.
async fn keys(plot: &mut Plot, gw: &Watched) {
    let (admin, stranger) = (gw.admin(), gw.stranger());
    let made = body_of(&send(&admin, "POST", "/ledge/v1/users/eve/access-keys", &[], "").await);
    let (id, secret) = (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    plot.plant("the secret of an access key", &secret);
    plot.keep(&send(&admin, "GET", "/ledge/v1/users/eve/access-keys", &[], "").await);
    for signature in ["AAAA".to_owned(), STANDARD.encode([7; 32])] {
        let signed = format!("FC {id}:{signature}");
        let headers = [(AUTHORIZATION, signed.as_str()), (CONTENT_TYPE, "application/json"), (DATE, "Thu, 01 Jan 1970 00:00:00 GMT")];
        plot.keep(&send(&stranger, "GET", "/2016-08-15/services", &headers, "").await);
    }

    let env = plot.plant("a function's environment", "planted-for-the-plc-Vr53");
    for variable in ["PLC=", "PLC"] {
        let setup = secret_function(variable, env);
        for (digest, component) in &setup.components {
            let path = format!("/2016-08-15/components/{digest}");
            plot.keep(&admin.send(Method::PUT, &path, &[], component.clone().into()).await.unwrap());
        }
        let set = serde_json::to_string(&setup.set).unwrap();
        assert!(set.contains(env));
        plot.keep(&send(&admin, "POST", "/2016-08-15/deployments", &[], &set).await);
        plot.keep(&send(&admin, "POST", "/2016-08-15/deployments", &[], &set[..set.len() - 1]).await);
    }
    let invoked = send(&admin, "POST", "/2020-04-30/functions/service:test:function:look/invocations", &[], "env").await;
    assert!(String::from_utf8_lossy(&invoked.body).contains(env), "the function does not have it: {:?}", invoked.body);
    let headers = [(HeaderName::from_static("x-fc-invocation-type"), "Async")];
    plot.keep(&send(&admin, "POST", "/2020-04-30/functions/service:test:function:look/invocations", &headers, "nothing").await);

    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    plot.secrets.push(Secret::new("the key of a certificate", &key.serialize_der()));
    // What makes the key the key: 32 bytes of the whole.
    plot.secrets.push(Secret::new("the number of a certificate's key", &key.serialize_der()[36..68]));
    let pem = key.serialize_pem();
    plot.secrets.push(Secret { what: "a line of a key in PEM", forms: vec![pem.lines().nth(1).unwrap().as_bytes().to_vec()] });
    let body = json!({"certificate": certificate, "key": pem}).to_string();
    plot.keep(&send(&admin, "PUT", "/ledge/v1/certificate", &[], &json!({"certificate": pem, "key": pem}).to_string()).await);
    plot.keep(&send(&admin, "PUT", "/ledge/v1/certificate", &[], &body.replace("key", "kye")).await);
    let replaced = send(&admin, "PUT", "/ledge/v1/certificate", &[], &body).await;
    assert_eq!(replaced.status, 200, "{:?}", replaced.body);
    plot.keep(&replaced);
}

/// Everything that tells something about the gateway to whoever may know.
async fn looks(plot: &mut Plot, client: &Client) {
    let document = client.get_json("/openapi.json").await.unwrap();
    let mut read = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_some() {
            let path = path.replace("{service}", "test").replace("{function}", "look").replace("{name}", "eve").replace("{key}", "x");
            plot.keep(&send(client, "GET", &path, &[], "").await);
            read += 1;
        }
    }
    assert!(read > 30, "only {read} operations read");
    plot.answers.extend(document.to_string().into_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_nowhere_in_clear() {
    let mut plot = Plot::default();
    let gw = Watched::start(tempfile::tempdir().unwrap()).await;
    let cookie = users(&mut plot, &gw).await;
    keys(&mut plot, &gw).await;
    looks(&mut plot, &Client::local(gw.data.path())).await;
    for args in [["audit", "show"].as_slice(), &["list", "users"], &["list", "functions"], &["user", "key", "list", "eve"]] {
        let output = ledge(gw.data.path(), &[args, &["--data", "."]].concat()).await;
        assert_eq!(output.code, 0, "{output:?}");
        plot.answers.extend((output.stdout + &output.stderr).into_bytes());
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", gw.process.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("1"), "a core may be written: {core}");

    // It crashes, and starts again from what it has kept; then it is killed.
    let Watched { data, process, .. } = gw;
    let mut said = process.said.clone();
    process.signal("ABRT");
    process.end().await;
    let gw = Watched::start(data).await;
    let answer = send(&gw.stranger(), "GET", "/2020-04-30/things", &[(COOKIE, &format!("token={cookie}"))], "").await;
    assert_eq!(answer.status, 401);
    let as_eve = gw.stranger().with_password("eve", EVE_LATER);
    assert_eq!(send(&as_eve, "GET", "/2020-04-30/things", &[], "").await.status, 200);
    looks(&mut plot, &Client::local(gw.data.path())).await;
    said.push_str(&gw.process.said);
    gw.process.signal("KILL");
    gw.process.end().await;

    let log = fs::read(gw.data.path().join("log")).unwrap();
    assert!(log.len() > 10_000 && String::from_utf8_lossy(&log).contains("TRACE"), "the log says little");
    assert!(plot.secrets.len() >= 15 && plot.answers.len() > 20_000, "{} bytes answered", plot.answers.len());
    plot.is_nowhere_in("stdout", said.as_bytes());
    plot.is_nowhere_in("an answer", &plot.answers);
    plot.is_nowhere_below(gw.data.path());
    let cores = fs::read_dir(gw.data.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(cores.filter(|name| name.starts_with("core")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_secret_is_found_in_whatever_form_it_is() {
    let secrets = [Secret::new("another", b"planted-Xy3z"), Secret::new("a password", b"planted-Kq7f")];
    for before in ["", "a", "ab", "abc"] {
        for after in ["", "a", "ab"] {
            let around = format!("{before}planted-Kq7f{after}");
            for text in [around.clone(), STANDARD.encode(&around), URL_SAFE_NO_PAD.encode(&around), format!("{:?}", around.as_bytes())] {
                assert_eq!(found(&secrets, format!("x{text}y").as_bytes()).map(|(what, _)| what), Some("a password"), "{text}");
            }
        }
    }
    assert_eq!(found(&secrets, b"planted-Kq7g and planted-Xy4z"), None);
}

/// Whether a type can be printed with `{:?}`: the one function that fits is found while this is compiled.
macro_rules! shows_nothing {
    ($($hidden:ty),+ $(,)?) => {
        $(const _: fn() = || {
            trait Either<Which> { fn found() {} }
            struct Debuggable;
            impl<T: ?Sized> Either<()> for T {}
            impl<T: ?Sized + std::fmt::Debug> Either<Debuggable> for T {}
            // Does not compile where both fit.
            <$hidden as Either<_>>::found();
        };)+
    };
}

// Whatever holds a secret as it is cannot be printed.
shows_nothing!(
    ledge::auth::Auth,
    ledge::auth::AuthOptions,
    ledge::auth::FirstPassword,
    ledge::auth::NewAccessKey,
    ledge::auth::Session,
    ledge::gateway::Options,
    ledge::gateway::Gateway,
    ledge::seal::Seal,
    ledge::cli::client::Client,
    ledge::cli::client::Connection,
    ledge::tls::Identity,
    ledge::tls::Given<'static>,
);

#[test]
fn what_can_be_printed_hides_what_is_secret() {
    let setup = secret_function("PLC", "planted-for-the-plc-Vr53");
    let shown = format!("{:?} {:#?}", setup.set, setup.set.functions[0].grants);
    assert!(shown.contains("PLC") && !shown.contains("planted"), "{shown}");
}

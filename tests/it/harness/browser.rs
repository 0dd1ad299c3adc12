//! A real Chromium without a window, which is told by the protocol of its developer tools what a person would do.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::command::shell;
use super::{PATIENCE, TestGateway, eventually};

/// How long a page may take for anything: a browser starts slowly where everybody compiles.
const PAGE_PATIENCE: Duration = PATIENCE.saturating_mul(2);

/// One page, and the browser that has it. The browser is killed when this is dropped.
pub struct Page {
    socket: WebSocketStream<TcpStream>,
    session: Option<String>,
    last_id: u64,
    /// What the browser has told of itself so far.
    pub events: Vec<Json>,
    process: Child,
    _profile: TempDir,
}

/// A Chromium: the one that `LEDGE_CHROMIUM` names, or else `chromium`.
pub async fn chromium() -> Option<String> {
    let program = std::env::var("LEDGE_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    if shell(&format!("{program} --version"), Path::new("/"), &[]).await.code != 0 {
        eprintln!("not run: there is no `{program}`; see docs/testing.md");
        return None;
    }
    Some(program)
}

impl Page {
    /// An empty page, of a browser that knows the gateway's certificate by its key.
    pub async fn open(chromium: &str, gw: &TestGateway) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let process = Command::new(chromium)
            .args(["--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--ignore-certificate-errors-spki-list={}", key_of(&gw.gateway.certificate)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let told = || std::fs::read_to_string(profile.path().join("DevToolsActivePort")).unwrap_or_default();
        eventually("the browser to say where its tools listen", || async { told().contains("\n/devtools/browser/") }).await;
        let told = told();
        let (port, path) = told.split_once('\n').unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
        let (socket, _) = client_async(format!("ws://127.0.0.1:{port}{}", path.trim()), stream).await.unwrap();
        let mut page = Self { socket, session: None, last_id: 0, events: vec![], process, _profile: profile };
        let made = page.order("Target.createTarget", json!({"url": "about:blank"})).await;
        let session = page.order("Target.attachToTarget", json!({"targetId": made["targetId"], "flatten": true})).await;
        page.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            page.order(&format!("{domain}.enable"), json!({})).await;
        }
        page
    }

    /// Gives an order, and waits for its end.
    async fn order(&mut self, method: &str, params: Json) -> Json {
        self.last_id += 1;
        let mut order = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let id = self.last_id;
        let done = tokio::time::timeout(PAGE_PATIENCE, async {
            self.socket.send(Message::text(order.to_string())).await.unwrap();
            loop {
                let Message::Text(text) = self.socket.next().await.expect("the browser has gone").unwrap() else { continue };
                let said: Json = serde_json::from_str(&text).unwrap();
                if said["id"] == id {
                    return said;
                }
                self.events.push(said);
            }
        });
        let said = done.await.unwrap_or_else(|_| panic!("the browser did not do {order}"));
        assert!(said.get("error").is_none(), "{order}: {said}");
        said["result"].clone()
    }

    pub async fn go(&mut self, url: &str) {
        let went = self.order("Page.navigate", json!({"url": url})).await;
        assert!(went.get("errorText").is_none(), "{url}: {went}");
    }

    /// What a JavaScript expression gives.
    pub async fn evaluate(&mut self, expression: &str) -> Json {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let said = self.order("Runtime.evaluate", asked).await;
        assert!(said.get("exceptionDetails").is_none(), "{expression}: {said}");
        said["result"]["value"].clone()
    }

    /// What an expression gives once that is something. It is looked at whenever the page draws.
    pub async fn until(&mut self, expression: &str) -> Json {
        let look = format!(
            "new Promise((done, fail) => {{
                const began = Date.now();
                const look = () => {{
                    const found = {expression};
                    if (found) done(found);
                    else if (Date.now() - began > {}) fail(document.body.innerText.slice(0, 2000));
                    else requestAnimationFrame(look);
                }};
                look();
            }})",
            PATIENCE.as_millis()
        );
        self.evaluate(&look).await
    }

    /// Clicks into the middle of the first element that this selects, once it is there.
    pub async fn click(&mut self, selector: &str) {
        let middle = self.until(&format!("(() => {{ {MIDDLE} return middle({}); }})()", json!(selector))).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": middle["x"], "y": middle["y"], "button": "left", "clickCount": 1});
            self.order("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types a text in the place of the one that is there.
    pub async fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector).await;
        self.evaluate(&format!("document.querySelector({}).select()", json!(selector))).await;
        self.order("Input.insertText", json!({"text": text})).await;
    }

    /// Waits until the element that this selects shows a text with this in it, and gives all of it.
    pub async fn shows(&mut self, selector: &str, wanted: &str) -> String {
        let text = format!("(document.querySelector({})?.innerText ?? '')", json!(selector));
        let found = self.until(&format!("{text}.includes({}) && {text}", json!(wanted))).await;
        found.as_str().unwrap().to_owned()
    }

    /// The addresses that the page has asked for.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        self.of("Network.requestWillBeSent").map(|event| event["request"]["url"].as_str().unwrap())
    }

    /// What its console has as an error or a warning.
    pub fn complaints(&self) -> Vec<&Json> {
        let is_loud = |event: &&Json| ["error", "warning", "assert"].iter().any(|kind| event["type"] == *kind);
        let said = self.of("Runtime.consoleAPICalled").filter(is_loud);
        let logged =
            self.of("Log.entryAdded").map(|event| &event["entry"]).filter(|entry| entry["level"] == "error" || entry["level"] == "warning");
        self.of("Runtime.exceptionThrown").chain(said).chain(logged).collect()
    }

    fn of(&self, method: &'static str) -> impl Iterator<Item = &Json> {
        self.events.iter().filter(move |event| event["method"] == method).map(|event| &event["params"])
    }

    /// Ends the browser, with all of its processes.
    pub async fn close(mut self) {
        // It may be gone before it answers.
        self.socket.send(Message::text(json!({"id": 0, "method": "Browser.close"}).to_string())).await.unwrap();
        tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("the browser did not end").unwrap();
    }
}

/// Where an element is, once it is where it can be clicked.
const MIDDLE: &str = "const middle = selector => {
    const element = document.querySelector(selector);
    if (!element) return null;
    element.scrollIntoView({block: 'center'});
    const {x, y, width, height} = element.getBoundingClientRect();
    const at = {x: x + width / 2, y: y + height / 2};
    return element.contains(document.elementFromPoint(at.x, at.y)) ? at : null;
};";

/// SHA-256 of a certificate's key, as browsers name keys.
fn key_of(certificate: &Path) -> String {
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    STANDARD.encode(digest(&SHA256, certificate.public_key().raw))
}

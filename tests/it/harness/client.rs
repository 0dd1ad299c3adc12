//! Clients of a test's gateway: our own, and curl.

use ledge::cli::client::{Answer, Client};
use serde_json::Value as Json;

use super::{PASSWORD, TestGateway, eventually};
use crate::harness::command;

impl TestGateway {
    /// A client over TLS that knows the certificate and no password.
    pub fn stranger(&self) -> Client {
        Client::remote(&self.gateway.address.to_string(), &self.gateway.fingerprint).unwrap()
    }

    /// The same with the password of `admin`.
    pub fn admin(&self) -> Client {
        self.stranger().with_password("admin", PASSWORD)
    }

    /// Every metric, as Prometheus reads it.
    pub async fn metrics(&self) -> String {
        let answer = self.admin().send(hyper::Method::GET, "/ledge/v1/metrics", &[], "".into()).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// Waits until the metrics say this.
    pub async fn counted(&self, wanted: &str) {
        eventually(&format!("the metrics to say `{wanted}`"), || async { self.metrics().await.contains(wanted) }).await;
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.gateway.address)
    }

    /// Calls OpenAPI v1 as `admin`, and gives the HTTP status and the body.
    pub async fn v1(&self, path: &str, params: Json) -> (u16, Json) {
        post(&self.admin(), path, &serde_json::json!({"request": {"apiVer": "0.6"}, "params": params}).to_string()).await
    }

    /// Runs a line of shell in the data directory, where `$URL` and `$CERT` are this gateway's.
    pub async fn shell(&self, line: &str) -> command::Output {
        let env = [("URL", self.url()), ("CERT", self.gateway.certificate.display().to_string())];
        command::shell(line, self.data.path(), &env).await
    }
}

/// Posts a body, and gives the status and the JSON of the answer.
pub async fn post(client: &Client, path: &str, body: &str) -> (u16, Json) {
    let answer = client.send(hyper::Method::POST, path, &[], body.to_owned().into()).await.unwrap();
    (answer.status.as_u16(), json(&answer))
}

pub fn json(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("not JSON: {:?}", answer.body))
}

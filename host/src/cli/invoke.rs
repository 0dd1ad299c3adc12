//! `ledge invoke`.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderName;
use serde_json::Value as Json;

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::limit::EVENT_BYTES_MAX;
use crate::name::FunctionName;

/// Whether somebody waits for the result.
pub enum Kind {
    Sync,
    Async { idempotency_key: Option<String> },
}

pub async fn run(name: &FunctionName, data: Option<String>, kind: Kind, target: TargetArgs) -> anyhow::Result<()> {
    let path = format!("/2020-04-30/functions/service:{}:function:{}/invocations", name.service(), name.function());
    let mut headers = Vec::new();
    if let Kind::Async { idempotency_key } = &kind {
        headers.push((HeaderName::from_static("x-fc-invocation-type"), "Async"));
        headers.extend(idempotency_key.as_deref().map(|key| (HeaderName::from_static("x-fc-idempotency-key"), key)));
    }
    let answer = Client::of(&target)?.send(Method::POST, &path, &headers, event(data)?).await?;
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (error_type, request_id) = (header("x-fc-error-type"), header("x-fc-request-id"));
    let body = answer.ok()?;
    if let Some(error_type) = error_type {
        let said: Json = serde_json::from_slice(&body).unwrap_or_default();
        bail!("function `{name}` failed ({error_type}): {}", said["Message"].as_str().unwrap_or("no message"));
    }
    if matches!(kind, Kind::Async { .. }) {
        say(request_id.context("the gateway gave no id of the invocation")?)?;
    } else {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&body)?;
        // Bytes that go on to another program are left as they are.
        if std::io::IsTerminal::is_terminal(&stdout) {
            stdout.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn event(data: Option<String>) -> anyhow::Result<Bytes> {
    match data.as_deref() {
        None => Ok(Bytes::new()),
        Some("@-") => read(std::io::stdin().lock()).context("reading the event from standard input"),
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                let reading = || format!("reading the event from {file}");
                read(std::fs::File::open(file).with_context(reading)?).with_context(reading)
            }
            None => Ok(Bytes::from(text.to_owned())),
        },
    }
}

/// One byte more than the gateway takes is enough for it to say so.
fn read(from: impl Read) -> anyhow::Result<Bytes> {
    let mut event = Vec::new();
    from.take(EVENT_BYTES_MAX as u64 + 1).read_to_end(&mut event)?;
    Ok(event.into())
}

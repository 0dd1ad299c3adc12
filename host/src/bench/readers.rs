//! The event stream: readers over TLS, each of which must get every event of a driver, and soon.
//!
//! The gateway is a process of its own; driver and readers use one clock, so an event says itself how long it was on its way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::guests::Guests;
use super::process::{self, Running};
use super::reports::{self, PRODUCT};
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::cli::client::Client;
use crate::limit::PUBLISHES_PER_S;

/// The slowest of a hundred events may be so much later than it was reported.
const P99_MS_MAX: f64 = 20.0;
/// What was not read by then was not sent.
const PATIENCE: Duration = Duration::from_secs(30);

struct Crowd {
    name: Name,
    readers: usize,
    events_per_s: u64,
}

const CROWDS: [Crowd; 2] = [
    Crowd { name: Name::EventReaders, readers: 10, events_per_s: 2_000 },
    Crowd { name: Name::EventReader, readers: 1, events_per_s: 10_000 },
];

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch, wanted: &[Name]) -> anyhow::Result<Vec<Row>> {
    let mut set = reports::set(guests, 1, 1);
    for driver in &mut set.drivers {
        driver.limits.publishes_per_s = *PUBLISHES_PER_S.end();
        driver.limits.deadline_ms = 60_000;
    }
    let used = [&guests.reporter.component, &guests.count.component];
    let components = used.iter().map(|digest| Ok((*digest, guests.component(digest)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let prepared = process::prepare_set(scratch, "readers", set, components.into_iter(), guests.count.name.clone()).await?;
    let (gateway, _) = Running::start(&prepared).await?;
    gateway.until_drivers_are_online().await?;
    let mut rows = Vec::new();
    for crowd in CROWDS.iter().filter(|crowd| wanted.contains(&crowd.name)) {
        let events = crowd.events_per_s * effort.load_ms / 1_000;
        let (late_ms, took) = crowd.read(&gateway, events).await?;
        let note = format!(
            "99 of 100 events are read so soon after they were reported; median {:.2} ms; {} of {}, {} at {:.0}/s, none missed",
            late_ms.median(),
            crowd.readers,
            if crowd.readers == 1 { "one reader" } else { "many readers" },
            events,
            events as f64 / took.as_secs_f64()
        );
        rows.push(Row::new(crowd.name, late_ms.percentile(99), "ms").at_most(P99_MS_MAX).note(note));
    }
    gateway.stop().await?;
    Ok(rows)
}

impl Crowd {
    /// How late each event was for each reader, and how long the driver took to report them. An event that is missing is an error.
    async fn read(&self, gateway: &Running, events: u64) -> anyhow::Result<(Samples, Duration)> {
        let mut readers = JoinSet::new();
        for _ in 0..self.readers {
            let mut stream = Stream::open(gateway.client()).await?;
            readers.spawn(async move { stream.read(events).await });
        }
        let arguments = json!({"events": events, "per_s": self.events_per_s});
        let call = json!({"params": {"productKey": PRODUCT, "deviceName": "thing-00000", "method": "tick", "inputParams": arguments}});
        let began = std::time::Instant::now();
        gateway.local().send(Method::POST, "/thing/device/service/invoke", &[], call.to_string().into()).await?.ok()?;
        let took = began.elapsed();
        let mut late_ms = Samples::default();
        while let Some(reader) = timeout(PATIENCE, readers.join_next()).await.context("a reader does not get its events")? {
            late_ms.extend(reader??);
        }
        Ok((late_ms, took))
    }
}

/// One reader.
struct Stream {
    answer: Response<Incoming>,
    /// What was read and not understood yet: a chunk may come in two.
    rest: Vec<u8>,
}

impl Stream {
    /// Returns once the gateway has subscribed it.
    async fn open(client: &Client) -> anyhow::Result<Self> {
        let wish = Bytes::from_static(br#"{"params": {"eventInfo": []}}"#);
        let answer = client.connect().await?.start(Method::POST, "/thing/device/events/get", &[], wish).await?;
        ensure!(answer.status().is_success(), "subscribing to events was answered {}", answer.status());
        let mut stream = Self { answer, rest: Vec::new() };
        stream.more().await?;
        Ok(stream)
    }

    async fn read(&mut self, events: u64) -> anyhow::Result<Samples> {
        let mut late_ms = Samples::default();
        let mut expected = 0;
        while expected < events {
            self.more().await?;
            let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as f64;
            while let Some((number, sent_us)) = self.next_event()? {
                ensure!(number == expected, "event {number} came where {expected} was expected");
                expected += 1;
                late_ms.add((now_us - sent_us) / 1_000.0);
            }
        }
        Ok(late_ms)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let Some(frame) = self.answer.body_mut().frame().await else {
            bail!("the gateway ended a stream of events: {}", String::from_utf8_lossy(&self.rest))
        };
        if let Ok(data) = frame.context("reading events")?.into_data() {
            self.rest.extend_from_slice(&data);
        }
        Ok(())
    }

    /// The number of the next event that was read whole, and when it was reported.
    fn next_event(&mut self) -> anyhow::Result<Option<(u64, f64)>> {
        let mut values = [0.0; 2];
        let mut end = 0;
        for (value, name) in values.iter_mut().zip([&b"\"number\": "[..], b"\"sent_us\": "]) {
            let Some(at) = find(&self.rest[end..], name) else { return Ok(None) };
            let from = end + at + name.len();
            let is_part = |byte: &u8| byte.is_ascii_digit() || b".-+e".contains(byte);
            let Some(digits) = self.rest[from..].iter().position(|byte| !is_part(byte)) else { return Ok(None) };
            end = from + digits;
            *value = std::str::from_utf8(&self.rest[from..end])?.parse()?;
        }
        self.rest.drain(..end);
        Ok(Some((values[0] as u64, values[1])))
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

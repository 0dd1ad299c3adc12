//! From a device to a function: a lamp is told to switch, its driver reports that, and the report's route starts a function.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::guests::Guests;
use super::process::options;
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::bus::{Message, Receipt, Sink, Source};
use crate::gateway::Gateway;
use crate::grant::Grants;
use crate::limit::PUBLISHES_PER_S;
use crate::name::ThingId;
use crate::set::{self, Qos, Route, RouteSource, RouteTopic, Set};
use crate::thing::Presence;
use crate::thing::value::{Property, Value};

const PATIENCE: Duration = Duration::from_secs(20);
const P50_US_MAX: f64 = 100.0;

/// Notes when a function has begun: the first that it does is to publish.
struct Stopwatch(mpsc::UnboundedSender<Instant>);

impl Sink for Stopwatch {
    fn deliver(&self, message: &Arc<Message>) -> Option<Receipt> {
        if let Source::Function(_) = &message.source {
            let _ = self.0.send(Instant::now());
        }
        None
    }
}

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Row> {
    let (gateway, lamp) = start(guests, &scratch.path().join("route")).await?;
    let (began, mut begun) = mpsc::unbounded_channel();
    let stopwatch: Arc<dyn Sink> = Arc::new(Stopwatch(began));
    gateway.bus.attach(&stopwatch);
    let mut us = Samples::default();
    for round in 0..effort.rounds * 5 {
        let (things, lamp) = (gateway.things.clone(), lamp.clone());
        // The lamp reports what changes.
        let switch = vec![Property::new("LightSwitch", Value::Bool(round % 2 == 0))];
        let asked = gateway.guests().spawn(async move {
            let asked = Instant::now();
            things.set_properties(&lamp, switch).await.map(|()| asked)
        });
        let asked = asked.await?.map_err(|fault| anyhow::anyhow!(fault.message))?;
        let begun = timeout(PATIENCE, begun.recv()).await.context("the function that is measured was not called")?;
        // The first ones find every cache cold.
        if round >= effort.rounds {
            us.add(begun.context("the bus is gone")?.saturating_duration_since(asked).as_nanos() as f64 / 1_000.0);
        }
    }
    gateway.stop().await;
    let row = Row::of_samples(Name::Route, &us);
    Ok(row.at_most(P50_US_MAX).note(format!("from asking the lamp to the function's first host call; median of {}", us.len())))
}

async fn start(guests: &Guests, dir: &Path) -> anyhow::Result<(Gateway, ThingId)> {
    let mut driver = guests.lamp_driver()?.clone();
    // What is measured is not what a limit makes of it.
    driver.limits.publishes_per_s = *PUBLISHES_PER_S.end();
    let things: Vec<_> = guests.demo.things.iter().filter(|thing| thing.driver == driver.name).cloned().collect();
    let row = things.first().context("the demo has no lamp")?;
    let lamp = ThingId::new(&row.product_key, &row.device_name);
    let products = guests.demo.products.iter().filter(|product| product.key == lamp.product_key).cloned().collect();
    let all = || -> anyhow::Result<_> { Ok(vec!["#".parse()?]) };
    let grants = Arc::new(Grants { publish: all()?, subscribe: all()?, ..Grants::default() });
    let mut relay = set::Function { grants, ..guests.relay.clone() };
    relay.limits.publishes_per_s = *PUBLISHES_PER_S.end();
    let source = RouteSource::Device(format!("/{lamp}").parse()?);
    let route = Route { source, topic: RouteTopic::Property, target: relay.name.clone(), qos: Qos::AtMostOnce };
    let used = [driver.component.clone(), relay.component.clone()];
    let set = Set { products, things, drivers: vec![driver], functions: vec![relay], routes: vec![route], rules: vec![] };
    let gateway = Gateway::start(options(dir)).await?;
    for digest in &used {
        gateway.deploy.components().put(digest, guests.component(digest)?)?;
    }
    gateway.deploy.apply(set, false, "ledge bench").await.context("deploying what is measured")?;
    let thing = gateway.things.get(&lamp).map_err(|fault| anyhow::anyhow!(fault.message))?;
    let online = async {
        while thing.presence() != Presence::Online {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, online).await.context("the lamp did not come online")?;
    Ok((gateway, lamp))
}

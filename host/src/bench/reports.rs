//! Reports: values that drivers report as fast as they are taken, ten a report, each held against its model, kept as last value and in the
//! history, and published where nobody subscribes. And what a thing costs that only is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::timeout;

use super::guests::Guests;
use super::process::{self, Running, options};
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::gateway::Gateway;
use crate::limit::PUBLISHES_PER_S;
use crate::name::ThingId;
use crate::set::{self, Driver, Set};
use crate::thing::Presence;
use crate::thing::value::{Property, Value};

pub const PRODUCT: &str = "a1Bench";
const TSL: &str = include_str!("reporter.json");
const VALUES_A_REPORT: usize = 10;
/// Drivers that report at the same time: one for each core.
const REPORTERS: usize = 2;
const REPORTS_A_ROUND: i32 = 5_000;
const VALUES_PER_S_MIN: f64 = 150_000.0;

const DRIVERS: usize = 100;
const THINGS: usize = 10_000;
const THING_KB_MAX: f64 = 2.0;
const START_MS_MAX: f64 = 2_000.0;
const PATIENCE: Duration = Duration::from_secs(60);
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// So many drivers, each with so many things.
pub fn set(guests: &Guests, drivers: usize, things_each: usize) -> Set {
    let product = set::Product { key: PRODUCT.into(), name: PRODUCT.into(), tsl: TSL.into(), tsl_ext: None, history_bytes: 64 << 10 };
    let driver = |at: usize| Driver { name: format!("reporter_{at}"), ..guests.reporter.clone() };
    let thing = |at: usize| set::Thing {
        product_key: PRODUCT.into(),
        device_name: format!("thing-{at:05}"),
        driver: format!("reporter_{}", at % drivers),
        local_name: None,
        tags: BTreeMap::new(),
        custom: None,
    };
    Set {
        products: vec![product],
        things: (0..drivers * things_each).map(thing).collect(),
        drivers: (0..drivers).map(driver).collect(),
        functions: vec![guests.count.clone()],
        routes: vec![],
        rules: vec![],
    }
}

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Row> {
    let gateway = Gateway::start(options(&scratch.path().join("reports"))).await?;
    let mut set = set(guests, REPORTERS, 1);
    for driver in &mut set.drivers {
        driver.limits.publishes_per_s = *PUBLISHES_PER_S.end();
        driver.limits.deadline_ms = 60_000;
    }
    for digest in [&guests.reporter.component, &guests.count.component] {
        gateway.deploy.components().put(digest, guests.component(digest)?)?;
    }
    gateway.deploy.apply(set, false, "ledge bench").await.context("deploying what is measured")?;
    let things: Vec<ThingId> = gateway.things.list().iter().map(|thing| thing.id.clone()).collect();
    timeout(PATIENCE, online(&gateway, &things)).await.context("the reporters did not come online")?;
    let mut per_s = Samples::default();
    for round in 0..=effort.starts {
        let began = Instant::now();
        let floods = things.iter().map(|id| {
            let (things, id) = (gateway.things.clone(), id.clone());
            let reports = vec![Property::new("reports", Value::Int(REPORTS_A_ROUND))];
            gateway.guests().spawn(async move { things.call_service(&id, "flood", reports).await })
        });
        for flood in floods.collect::<Vec<_>>() {
            flood.await?.map_err(|fault| anyhow::anyhow!(fault.message))?;
        }
        if round > 0 {
            let values = things.len() * REPORTS_A_ROUND as usize * VALUES_A_REPORT;
            per_s.add(values as f64 / began.elapsed().as_secs_f64());
        }
    }
    for id in &things {
        let last = gateway.things.get(id).map_err(|fault| anyhow::anyhow!(fault.message))?.value("count").map(|it| it.value);
        anyhow::ensure!(last == Some(Value::Int(REPORTS_A_ROUND - 1)), "the last report of `{id}` was not kept: {last:?}");
    }
    gateway.stop().await;
    let row = Row::new(Name::Reports, per_s.median(), "/s").at_least(VALUES_PER_S_MIN);
    Ok(row.note(format!("values of {REPORTERS} drivers, kept as last value and history; median of {} rounds", per_s.len())))
}

async fn online(gateway: &Gateway, things: &[ThingId]) {
    let is_online = |id: &ThingId| gateway.things.get(id).is_ok_and(|thing| thing.presence() == Presence::Online);
    while !things.iter().all(is_online) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Gateways in processes of their own: a hundred drivers with a hundred things each, and the same drivers with one thing each.
pub async fn measure_things(guests: &Guests, scratch: &Scratch) -> anyhow::Result<Row> {
    let (few_mb, _) = started(guests, scratch, 1).await?;
    let (many_mb, start_ms) = started(guests, scratch, THINGS / DRIVERS).await?;
    let kb = (many_mb - few_mb) * 1_000.0 / (THINGS - DRIVERS) as f64;
    let row = Row::new(Name::Things, kb, "KB").at_most(THING_KB_MAX).provided(start_ms <= START_MS_MAX);
    Ok(row.note(format!("of each of {THINGS} things of {DRIVERS} drivers, without values; all online {start_ms:.0} ms after the start (at most {START_MS_MAX})")))
}

/// Anonymous memory of a gateway, and the time until all of its things were online.
async fn started(guests: &Guests, scratch: &Scratch, things_each: usize) -> anyhow::Result<(f64, f64)> {
    let used = [&guests.reporter.component, &guests.count.component];
    let components = used.iter().map(|digest| Ok((*digest, guests.component(digest)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let (name, first) = (format!("things-{things_each}"), guests.count.name.clone());
    let prepared = process::prepare_set(scratch, &name, set(guests, DRIVERS, things_each), components.into_iter(), first).await?;
    let began = Instant::now();
    let (running, _) = Running::start(&prepared).await?;
    running.until_drivers_are_online().await?;
    let start_ms = began.elapsed().as_secs_f64() * 1_000.0;
    // What the start has left lying is given back, and what things remember is written for the first time.
    tokio::time::sleep(SETTLED_AFTER).await;
    let anon = running.memory_mb("RssAnon:")?;
    running.stop().await?;
    Ok((anon, start_ms))
}

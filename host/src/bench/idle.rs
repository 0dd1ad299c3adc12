//! Many functions, each with a component of its own: what one costs that nobody calls, and one that is loaded; how soon a gateway with
//! all of them answers; and how much longer a call takes that finds its function unloaded.
//!
//! The gateways are processes of their own. What a function costs is the difference in anonymous memory to a gateway that has a fifth
//! as many and did the same, so that what all functions share does not count.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hyper::Method;

use super::function::FIRST;
use super::guests::Guests;
use super::process::{self, Prepared, Running, invocation_path};
use super::row::Row;
use super::samples::Samples;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::cli::client::Connection;
use crate::set::{self, Digest, Set};

const IDLE_KB_MAX: f64 = 4.0;
const LOADED_KB_MAX: f64 = 80.0;
const FIRST_CALL_MS_MAX: f64 = 1.0;
const START_MS_MAX: f64 = 1_000.0;
/// Longer than it takes to call them all once.
const IDLE: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(100);

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Vec<Row>> {
    let (few, many) = (effort.functions / 5, effort.functions);
    let (base, seen) = (Seen::of(guests, scratch, few).await?, Seen::of(guests, scratch, many).await?);
    let each_kb = |part: fn(&Seen) -> f64| (part(&seen) - part(&base)) * 1_000.0 / (many - few) as f64;
    let (never_kb, loaded_kb, idle_kb) = (each_kb(|seen| seen.never_mb), each_kb(|seen| seen.loaded_mb), each_kb(|seen| seen.idle_mb));
    let [first_ms, warm_ms, after_ms] = [&seen.first_ms, &seen.warm_ms, &seen.after_ms].map(Samples::median);
    let note = format!(
        "never called; idle again {idle_kb:.2} KB (<= {IDLE_KB_MAX}), loaded {loaded_kb:.1} KB (<= {LOADED_KB_MAX}); a call {warm_ms:.2} ms, \
         the first one {first_ms:.2} ms and after idling {after_ms:.2} ms (<= +{FIRST_CALL_MS_MAX}); start of {many} {:.0} ms (<= {START_MS_MAX})",
        seen.start_ms,
    );
    let is_cheap = idle_kb <= IDLE_KB_MAX && loaded_kb <= LOADED_KB_MAX;
    let is_soon = after_ms <= warm_ms + FIRST_CALL_MS_MAX && seen.start_ms <= START_MS_MAX;
    Ok(vec![Row::new(Name::IdleFunctions, never_kb, "KB").at_most(IDLE_KB_MAX).provided(is_cheap && is_soon).note(note)])
}

/// A gateway with so many functions. Memory is that of all of them, and of the gateway itself.
struct Seen {
    start_ms: f64,
    never_mb: f64,
    loaded_mb: f64,
    idle_mb: f64,
    /// Of each function, as all others: the first call, one that finds it loaded, and the first after it was unloaded.
    first_ms: Samples,
    warm_ms: Samples,
    after_ms: Samples,
}

impl Seen {
    async fn of(guests: &Guests, scratch: &Scratch, count: usize) -> anyhow::Result<Self> {
        let mut prepared = prepare(guests, scratch, &format!("{count}-functions"), count).await?;
        prepared.idle = IDLE;
        // The first start is thrown away: it may read files from the disk.
        Running::start(&prepared).await?.0.stop().await?;
        let (gateway, start) = Running::start(&prepared).await?;
        let never_mb = gateway.memory_mb(ANONYMOUS)?;
        let (first_ms, warm_ms) = (call_all(&gateway, count).await?, call_all(&gateway, count).await?);
        let loaded_mb = gateway.memory_mb(ANONYMOUS)?;
        until_unloaded(&gateway).await?;
        let idle_mb = gateway.memory_mb(ANONYMOUS)?;
        let after_ms = call_all(&gateway, count).await?;
        gateway.stop().await?;
        Ok(Self { start_ms: start.as_secs_f64() * 1_000.0, never_mb, loaded_mb, idle_mb, first_ms, warm_ms, after_ms })
    }
}

/// Of the kernel's account of a process.
const ANONYMOUS: &str = "RssAnon:";

async fn prepare(guests: &Guests, scratch: &Scratch, name: &str, count: usize) -> anyhow::Result<Prepared> {
    let plain = guests.component(&guests.count.component)?;
    let components: Vec<(Digest, Vec<u8>)> = (0..count).map(|at| numbered(plain, at)).map(|bytes| (Digest::of(&bytes), bytes)).collect();
    let function = |(at, (digest, _)): (usize, &(Digest, Vec<u8>))| -> anyhow::Result<set::Function> {
        Ok(set::Function { name: format!("bench/{}", named(at)).parse()?, component: digest.clone(), ..guests.count.clone() })
    };
    let functions = components.iter().enumerate().map(function).collect::<anyhow::Result<_>>()?;
    let set = Set { products: vec![], things: vec![], drivers: vec![], functions, routes: vec![], rules: vec![] };
    let components = components.iter().map(|(digest, bytes)| (digest, bytes.as_slice()));
    process::prepare_set(scratch, name, set, components, format!("bench/{}", named(0)).parse()?).await
}

fn named(at: usize) -> String {
    format!("f{at:04}")
}

/// The same component with a custom section at its end, which makes it another one to everybody.
fn numbered(component: &[u8], at: usize) -> Vec<u8> {
    let content = [&[6][..], b"number", &at.to_be_bytes()].concat();
    let length = u8::try_from(content.len()).expect("it has 15 bytes");
    [component, &[0, length], &content].concat()
}

/// Calls each once, one after another, and gives the times in milliseconds.
async fn call_all(gateway: &Running, count: usize) -> anyhow::Result<Samples> {
    let mut connection = gateway.local().connect().await?;
    let mut times = Samples::default();
    for at in 0..count {
        let began = Instant::now();
        call(&mut connection, at).await?;
        times.add(began.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(times)
}

async fn call(connection: &mut Connection, at: usize) -> anyhow::Result<()> {
    let answer = connection.send(Method::POST, &invocation_path("bench", &named(at)), &[], "x".into()).await?;
    let body = answer.ok()?;
    ensure!(body == FIRST.as_bytes(), "a fresh instance answered {body:?}");
    Ok(())
}

async fn until_unloaded(gateway: &Running) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        // Not by the list of them all, which would take some memory of its own.
        let about = gateway.local().get_json("/ledge/v1/gateway").await?;
        let loaded = about["functions_loaded"].as_u64().context("the gateway does not say what is loaded")?;
        if loaded == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{loaded} idle functions are loaded still");
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

//! Many functions called at once: does their number cost throughput, and does each get its part?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::function::{load, runtime};
use super::guests::Guests;
use super::row::Row;
use super::scratch::Scratch;
use super::{Effort, Name};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::function::{Functions, Invocation, Outcome};
use crate::gateway::GuestRuntime;
use crate::name::FunctionName;
use crate::set;
use crate::thing::Things;

/// So many functions are there, and so many are called at once; the largest comes last.
const CONCURRENCY: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// What a call computes: some 0.2 ms.
const EVENT: &str = "work 100000";
const THROUGHPUT_MIN: f64 = 0.9;
/// Of the mean of all functions, for the slowest.
const SHARE_MIN: f64 = 1.0 / 3.0;

pub async fn measure(effort: &Effort, guests: &Guests, scratch: &Scratch) -> anyhow::Result<Vec<Row>> {
    let functions = Arc::new(Functions::default());
    let things = Arc::new(Things::in_memory(Arc::new(Bus::default()), Clock::system()));
    let runtime = runtime(guests, scratch, functions.clone(), things)?;
    let most = CONCURRENCY[CONCURRENCY.len() - 1];
    let names = (0..most).map(|at| format!("bench/f{at}").parse()).collect::<Result<Vec<FunctionName>, _>>()?;
    let rows = names.iter().map(|name| set::Function { name: name.clone(), ..guests.repeat.clone() });
    let mut loaded = Vec::new();
    for row in rows {
        loaded.push(load(&runtime, &row).await?.1);
    }
    functions.replace(loaded);

    let workers = GuestRuntime::start()?;
    let time = Duration::from_millis(effort.load_ms / 8);
    // Thrown away: it finds every cache cold.
    calls(&workers.handle(), &functions, &names, time / 4).await?;
    let (mut best, mut last) = (0.0_f64, Vec::new());
    let mut at_once = 0.0;
    for count in CONCURRENCY {
        last = calls(&workers.handle(), &functions, &names[..count], time).await?;
        at_once = last.iter().sum::<u64>() as f64 / time.as_secs_f64();
        if count < most {
            best = best.max(at_once);
        }
    }
    let mean = last.iter().sum::<u64>() as f64 / last.len() as f64;
    let slowest = last.iter().min().copied().unwrap_or_default() as f64;
    let share = slowest / mean;
    let note =
        format!("{most} functions at once: {at_once:.0} calls/s, best of fewer {best:.0}; the slowest function had {share:.2} of the mean");
    let held = if share >= SHARE_MIN { at_once / best } else { 0.0 };
    Ok(vec![Row::new(Name::Fair, held, "of the best").at_least(THROUGHPUT_MIN).note(note)])
}

/// Calls each of `names` again and again for a while, and counts the calls of each.
async fn calls(workers: &Handle, functions: &Arc<Functions>, names: &[FunctionName], time: Duration) -> anyhow::Result<Vec<u64>> {
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for name in names {
        let (name, functions, over) = (name.clone(), functions.clone(), over.clone());
        callers.spawn_on(async move { call(&functions, &name, &over).await }, workers);
    }
    let until = Instant::now() + time;
    tokio::time::sleep_until(until.into()).await;
    over.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    while let Some(count) = callers.join_next().await {
        counts.push(count.context("calling a function")??);
    }
    Ok(counts)
}

async fn call(functions: &Functions, name: &FunctionName, over: &AtomicBool) -> anyhow::Result<u64> {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        match functions.invoke(Invocation::new(name.clone(), EVENT)).await? {
            Outcome::Done(_) => count += 1,
            other => bail!("`{name}` answered {other:?}"),
        }
        tokio::task::yield_now().await;
    }
    Ok(count)
}

//! `ledge bench`: measures this build on this machine, and the bare runtime beside it in the same run.
//!
//! Machines differ and are noisy, so every row that has a baseline is measured in rounds that alternate with it, and shown as a
//! median. What each row is, and what it came to elsewhere, is in `docs/performance.md`.

mod commit;
mod driver;
mod durable;
mod fair;
mod function;
mod guests;
mod http;
mod idle;
mod load;
mod modbus;
mod process;
mod query;
mod readers;
mod reports;
mod route;
mod row;
mod samples;
mod scratch;
mod stand_in;
mod wasi_http;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use guests::Guests;
use row::Row;
use scratch::Scratch;

use crate::cli::output::say;

#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON array instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure for a shorter time: good enough to see whether something broke.
    #[arg(long)]
    quick: bool,
    /// The program `wasmtime` that the rows wasi-http-fresh and wasi-http-reuse are measured against, at best of the version
    /// that Ledge is made with. Without it, a plain server of the same runtime stands in.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Be that server.
    #[arg(long, hide = true, requires = "component")]
    stand_in: Option<stand_in::Pool>,
    #[arg(long, hide = true, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Be the server that the row property-query is measured against.
    #[arg(long, hide = true, value_name = "DIR")]
    say_hello: Option<PathBuf>,
    /// The rows to measure; all of them if none is named.
    rows: Vec<Name>,
}

/// The rows, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    BareFresh,
    InvokeFresh,
    BareWarm,
    InvokeWarm,
    BareDriverCall,
    PropertyGet,
    Fair,
    #[value(name = "http-1")]
    Http1,
    #[value(name = "http-32")]
    Http32,
    PropertyQuery,
    EventReaders,
    EventReader,
    WasiHttpFresh,
    WasiHttpReuse,
    Route,
    Reports,
    Modbus,
    Things,
    #[value(name = "durable-64")]
    Durable64,
    #[value(name = "durable-256")]
    Durable256,
    DurableInside,
    Commit,
    IdleRss,
    IdleFunctions,
    Start,
}

/// How long to measure.
struct Effort {
    /// Rounds of calls inside the process, and calls in each.
    rounds: usize,
    calls: usize,
    /// Starts of a gateway.
    starts: usize,
    load_ms: u64,
    /// Functions that are deployed at once.
    functions: usize,
}

const FULL: Effort = Effort { rounds: 400, calls: 50, starts: 15, load_ms: 8_000, functions: 1_000 };
const QUICK: Effort = Effort { rounds: 60, calls: 50, starts: 5, load_ms: 2_000, functions: 100 };

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let (Some(pool), Some(component)) = (args.stand_in, &args.component) {
        match tokio::runtime::Runtime::new()?.block_on(stand_in::serve(component, pool))? {}
    }
    if let Some(dir) = &args.say_hello {
        match tokio::runtime::Runtime::new()?.block_on(query::say_hello(dir))? {}
    }
    let wanted: &[Name] = if args.rows.is_empty() { Name::value_variants() } else { &args.rows };
    let effort = if args.quick { &QUICK } else { &FULL };
    let guests = Guests::build()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rows = runtime.block_on(measure(wanted, effort, &guests, args.against.as_deref()))?;
    rows.retain(|row| wanted.contains(&row.name));
    rows.sort_by_key(|row| row.name as usize);
    if args.json {
        say(serde_json::to_string_pretty(&rows)?)?;
    } else {
        say(row::table(&rows))?;
    }
    let fell_short = rows.iter().any(|row| row.holds() == Some(false));
    Ok(if fell_short { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Measures what the wanted rows need; a row comes with its baseline.
async fn measure(wanted: &[Name], effort: &Effort, guests: &Guests, against: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let any = |names: &[Name]| names.iter().any(|name| wanted.contains(name));
    let scratch = Scratch::create()?;
    let mut rows = Vec::new();
    if any(&[Name::BareFresh, Name::InvokeFresh, Name::BareWarm, Name::InvokeWarm]) {
        rows.extend(function::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::BareDriverCall, Name::PropertyGet]) {
        rows.extend(driver::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::Fair]) {
        rows.extend(fair::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::WasiHttpFresh, Name::WasiHttpReuse]) {
        rows.extend(wasi_http::measure(effort, guests, &scratch, against).await?);
    }
    if any(&[Name::Route]) {
        rows.push(route::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::Reports]) {
        rows.push(reports::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::Modbus]) {
        rows.push(modbus::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::Things]) {
        rows.push(reports::measure_things(guests, &scratch).await?);
    }
    if any(&[Name::Durable64, Name::Durable256, Name::DurableInside]) {
        rows.extend(durable::measure(effort, guests, &scratch, wanted).await?);
    }
    if any(&[Name::Commit]) {
        rows.push(commit::measure(effort, &scratch)?);
    }
    if any(&[Name::IdleFunctions]) {
        rows.extend(idle::measure(effort, guests, &scratch).await?);
    }
    if any(&[Name::EventReaders, Name::EventReader]) {
        rows.extend(readers::measure(effort, guests, &scratch, wanted).await?);
    }
    if any(&[Name::Http1, Name::Http32, Name::PropertyQuery, Name::IdleRss, Name::Start]) {
        let prepared = process::prepare(guests, &scratch).await?;
        let (started, gateway) = process::measure(effort, &prepared).await?;
        rows.extend(started);
        if any(&[Name::Http1, Name::Http32]) {
            rows.extend(http::measure(effort, guests, &gateway).await?);
        }
        if any(&[Name::PropertyQuery]) {
            rows.push(query::measure(effort, &scratch, &gateway, prepared.password()).await?);
        }
        gateway.stop().await?;
    }
    Ok(rows)
}

//! `ledge history`: what a thing reported.

use anyhow::bail;
use clap::Args;
use comfy_table::{Table, presets};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::clock::Clock;
use crate::schedule::{self, parse_moment};

#[derive(Args)]
pub struct HistoryArgs {
    /// The thing, as PRODUCT/NAME.
    thing: String,
    /// Reports from this time on: as in 2026-01-31T08:00:00Z, in Unix milliseconds, or so long ago, as in 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    from: String,
    /// Reports up to this time. Up to now if it is not given.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Go on where the command before ended, which printed this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    cursor: u64,
    /// So many reports at most, the oldest first.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn run(args: HistoryArgs) -> anyhow::Result<()> {
    let Some((product, name)) = args.thing.split_once('/') else {
        bail!("`{}` is not a thing; expected PRODUCT/NAME, as `ledge list things` shows them", args.thing);
    };
    let now_ms = Clock::system().unix_ms();
    let from = parse_moment(&args.from, now_ms).map_err(anyhow::Error::msg)?;
    let to = args.to.as_deref().map(|to| parse_moment(to, now_ms)).transpose().map_err(anyhow::Error::msg)?;
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let until = to.map_or_else(String::new, |to| format!("&to={to}"));
    let path = format!(
        "/ledge/v1/things/{}/{}/history?from={from}&cursor={}&count={}{until}",
        encoded(product),
        encoded(name),
        args.cursor,
        args.count
    );
    let answer = Client::of(&args.target)?.get_json(&path).await?;
    if args.json {
        return Ok(say(serde_json::to_string_pretty(&answer)?)?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["TIME", "WHAT", "VALUES"]);
    for report in answer["reports"].as_array().into_iter().flatten() {
        table.add_row(row(report));
    }
    say(table)?;
    if let Some(next) = answer["next"].as_u64() {
        say(format_args!("there is more: --cursor {next}"))?;
    }
    Ok(())
}

fn row(report: &Json) -> [String; 3] {
    let (what, values) = match report["event"].as_str() {
        Some(event) => (format!("event {event}"), &report["outputs"]),
        None => ("properties".to_owned(), &report["properties"]),
    };
    let values = values.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
    [report["time"].as_u64().map(schedule::iso_ms).unwrap_or_default(), what, values.collect::<Vec<_>>().join(", ")]
}

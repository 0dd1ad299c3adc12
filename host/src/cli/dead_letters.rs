//! `ledge dead-letters` and `ledge status`.

use bytes::Bytes;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::Value as Json;
use uuid::Uuid;

use super::TargetArgs;
use super::client::Client;
use super::output::{say, since};
use crate::name::FunctionName;

#[derive(Subcommand)]
pub enum Command {
    /// The invocations that were given up, the oldest first.
    List {
        /// Those of one function, as SERVICE/FUNCTION.
        #[arg(long)]
        function: Option<FunctionName>,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// One of them: its event, and the error of each attempt.
    Show {
        /// The invocation's id.
        id: Uuid,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Try them again, with all of their attempts.
    Requeue(Which),
    /// Delete them.
    Purge(Which),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Wanted {
    /// The invocation's id.
    id: Option<Uuid>,
    /// All of one function, as SERVICE/FUNCTION.
    #[arg(long)]
    function: Option<FunctionName>,
    /// All that there are.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub struct Which {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    target: TargetArgs,
}

const PATH: &str = "/ledge/v1/dead-letters";

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { function, json, target } => list(function.as_ref(), json, &target).await,
        Command::Show { id, target } => show(id, &target).await,
        Command::Requeue(which) => change(which, Method::POST, "requeued").await,
        Command::Purge(which) => change(which, Method::DELETE, "purged").await,
    }
}

async fn list(function: Option<&FunctionName>, json: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let rows = Client::of(target)?.get_json(&format!("{PATH}{}", of(function))).await?;
    if json {
        return Ok(say(serde_json::to_string_pretty(&rows)?)?);
    }
    let rows = rows.as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        return Ok(say("no dead letters")?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "FUNCTION", "DIED", "ATTEMPTS", "LAST ERROR"]);
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let error: String = text("error").chars().take(ERROR_CHARS_MAX).collect();
        table.add_row([text("id"), text("function"), since(row["died"].as_u64()), row["attempts"].to_string(), error]);
    }
    Ok(say(table)?)
}

/// Of an error, in a table.
const ERROR_CHARS_MAX: usize = 80;

async fn show(id: Uuid, target: &TargetArgs) -> anyhow::Result<()> {
    let letter = Client::of(target)?.get_json(&format!("{PATH}/{id}")).await?;
    Ok(say(serde_json::to_string_pretty(&letter)?)?)
}

async fn change(which: Which, method: Method, done: &str) -> anyhow::Result<()> {
    let Which { wanted, target } = which;
    let path = match wanted.id {
        Some(id) => format!("{PATH}/{id}"),
        None => format!("{PATH}{}", of(wanted.function.as_ref())),
    };
    let answer: Json = serde_json::from_slice(&Client::of(&target)?.send(method, &path, &[], Bytes::new()).await?.ok()?)?;
    Ok(say(format_args!("{} {done}", counted(answer["count"].as_u64().unwrap_or_default())))?)
}

fn of(function: Option<&FunctionName>) -> String {
    function.map_or_else(String::new, |function| format!("?function={function}"))
}

fn counted(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// `ledge status ID`.
pub async fn status(id: Uuid, target: TargetArgs) -> anyhow::Result<()> {
    let status = Client::of(&target)?.get_json(&format!("/ledge/v1/invocations/{id}")).await?;
    Ok(say(serde_json::to_string_pretty(&status)?)?)
}

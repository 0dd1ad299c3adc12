//! `ledge rule`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::limit::{RUNS_PER_S, RUNS_PER_S_USUAL};

#[derive(Subcommand)]
pub enum Command {
    /// Add a rule, or change the one of this name, from now on and after every restart.
    Add {
        /// 1 to 30 letters, digits, `_` and `-`.
        name: String,
        /// Its JSON: {"type": "IFTTT", "trigger", "condition", "action"}. `-` is standard input.
        file: PathBuf,
        /// What it is for, in 100 characters.
        #[arg(long, default_value = "")]
        description: String,
        /// Do not enable it yet.
        #[arg(long)]
        disabled: bool,
        /// 1: its actions are on the disk before a report that set it off is acknowledged, and run at least once. 0: once, or never.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
        qos: u8,
        /// How often it may run in a second.
        #[arg(long, default_value_t = RUNS_PER_S_USUAL, value_name = "COUNT",
            value_parser = clap::value_parser!(u32).range(i64::from(*RUNS_PER_S.start())..=i64::from(*RUNS_PER_S.end())))]
        runs_per_s: u32,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Take a rule away, and what of it waits to run.
    Delete(Named),
    /// Let a rule run again.
    Enable(Named),
    /// Keep a rule from running, over restarts and deployments too. What of it waits to run is dropped.
    Disable(Named),
    /// Run a rule now, whatever its triggers say, if its conditions hold.
    Trigger(Named),
    /// Print a rule as it is on the gateway.
    Show(Named),
    /// What a rule did, the last run first: what set it off, and what became of each action.
    Log {
        #[command(flatten)]
        named: Named,
        /// So many runs at most.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        last: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What happened lately, and what each rule made of it: which ran, which did not, and the value of every condition.
    Explain {
        /// Of this rule alone.
        #[arg(long)]
        rule: Option<String>,
        /// Of this thing alone, as PRODUCT/THING.
        #[arg(long, value_name = "THING")]
        device: Option<String>,
        /// So many events at most.
        #[arg(long, default_value_t = 10, value_name = "COUNT")]
        last: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Ask the gateway what a rule would do, had something happened. Nothing is done.
    Test {
        /// The name of a rule on the gateway, or a file with a rule's JSON.
        rule: String,
        /// What is to have happened: {"productKey", "deviceName"} with `properties`, `event` or `status`; or {"timer": 0}. It may also have
        /// `at` (a moment) and `known` (values of other things). `-` is standard input.
        #[arg(long, value_name = "FILE")]
        event: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Args)]
pub struct Named {
    /// The rule, by its name in `ledge list rules`.
    name: String,
    #[command(flatten)]
    target: TargetArgs,
}

const PATH: &str = "/ledge/v1/rules";

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Add { name, file, description, disabled, qos, runs_per_s, target } => {
            let rule = read_json(&file)?;
            let body = json!({"rule": rule, "description": description, "enabled": !disabled, "qos": qos, "runs_per_s": runs_per_s});
            send(&target, Method::PUT, &path_of(&name, ""), &body).await?;
            Ok(say(format_args!("rule {name} is on the gateway{}", if disabled { ", and disabled" } else { "" }))?)
        }
        Command::Delete(named) => named.tell(Method::DELETE, "", "deleted").await,
        Command::Enable(named) => named.tell(Method::POST, "/enable", "enabled").await,
        Command::Disable(named) => named.tell(Method::POST, "/disable", "disabled").await,
        Command::Trigger(named) => {
            let judged = send(&named.target, Method::POST, &path_of(&named.name, "/trigger"), &Json::Null).await?;
            Ok(say(judgement(&judged))?)
        }
        Command::Show(named) => {
            let shown = Client::of(&named.target)?.get_json(&path_of(&named.name, "")).await?;
            Ok(say(serde_json::to_string_pretty(&shown)?)?)
        }
        Command::Log { named, last, json } => {
            let runs = Client::of(&named.target)?.get_json(&path_of(&named.name, "/runs")).await?;
            list(&runs, json, "it did not run yet", last, run_text)
        }
        Command::Explain { rule, device, last, json, target } => {
            let filters = [("rule", rule), ("device", device)];
            let filters = filters.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded(value.as_ref()?))));
            let query = filters.collect::<Vec<_>>().join("&");
            let events = Client::of(&target)?.get_json(&format!("/ledge/v1/rule-events?{query}")).await?;
            list(&events, json, "nothing happened that a rule is about, since the gateway started", last, event_text)
        }
        Command::Test { rule, event, json, target } => test(&rule, &event, json, &target).await,
    }
}

impl Named {
    async fn tell(self, method: Method, path: &str, done: &str) -> anyhow::Result<()> {
        send(&self.target, method, &path_of(&self.name, path), &Json::Null).await?;
        Ok(say(format_args!("{done}: rule {}", self.name))?)
    }
}

async fn test(rule: &str, event: &Path, json: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let is_file = rule.ends_with(".json") || rule.contains('/');
    let rule = if is_file { read_json(Path::new(rule))? } else { Json::from(rule) };
    let mut event = read_json(event)?;
    let mut body = json!({"rule": rule});
    for key in ["at", "known"] {
        if let Some(value) = event.as_object_mut().and_then(|members| members.shift_remove(key)) {
            body[key] = value;
        }
    }
    body["event"] = event;
    let tested = send(target, Method::POST, "/ledge/v1/rule-tests", &body).await?;
    if json {
        return Ok(say(serde_json::to_string_pretty(&tested)?)?);
    }
    let mut text = if tested["triggers"].is_null() {
        "it would not run: none of its triggers is about this\n".to_owned()
    } else if tested["fires"] == true {
        format!("it would run, at {}\n", plain(&tested["at"]))
    } else {
        format!("it would not run, at {}\n", plain(&tested["at"]))
    };
    parts(&mut text, &tested);
    for action in tested["actions"].as_array().into_iter().flatten() {
        let delay = action["delay_s"].as_u64().filter(|delay| *delay > 0).map_or_else(String::new, |delay| format!(" after {delay} s"));
        let problem = action["problem"].as_str().map_or_else(String::new, |problem| format!("  (would fail now: {problem})"));
        text += &format!("  action    {}{delay}{problem}\n", plain(&action["action"]));
    }
    Ok(say(text.trim_end())?)
}

async fn send(target: &TargetArgs, method: Method, path: &str, body: &Json) -> anyhow::Result<Json> {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    Client::of(target)?.send(method, path, &[], body).await?.json()
}

fn path_of(name: &str, rest: &str) -> String {
    format!("{PATH}/{}{rest}", encoded(name))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn read_json(file: &Path) -> anyhow::Result<Json> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("reading `{}`", file.display()))?
    };
    serde_json::from_str(text.trim_start_matches('\u{feff}')).with_context(|| format!("`{}` is not valid JSON", file.display()))
}

fn list(rows: &Json, json: bool, none: &str, last: usize, text_of: impl Fn(&Json) -> String) -> anyhow::Result<()> {
    let rows: Vec<&Json> = rows.as_array().into_iter().flatten().take(last).collect();
    if json {
        return Ok(say(serde_json::to_string_pretty(&rows)?)?);
    }
    if rows.is_empty() {
        return Ok(say(none)?);
    }
    let texts: Vec<String> = rows.into_iter().map(|row| text_of(row).trim_end().to_owned()).collect();
    Ok(say(texts.join("\n\n"))?)
}

/// One thing that happened.
fn event_text(event: &Json) -> String {
    let head = format!("{}  {}\n", plain(&event["at"]), event["cause"]);
    event["rules"].as_array().into_iter().flatten().fold(head, |text, judged| text + &judgement(judged) + "\n")
}

/// What a rule made of it.
fn judgement(judged: &Json) -> String {
    let rule = plain(&judged["rule"]);
    let mut text = match plain(&judged["outcome"]).as_str() {
        "ran" => format!("rule {rule} ran, as {}\n", plain(&judged["trace"])),
        "disabled" => format!("rule {rule} would have run, and is disabled\n"),
        "refused" => format!("rule {rule} would have run, but {}\n", plain(&judged["reason"])),
        _ => format!("rule {rule} did not run\n"),
    };
    parts(&mut text, judged);
    text.trim_end().to_owned()
}

/// One run.
fn run_text(run: &Json) -> String {
    let mut text = format!("{}  {}\n{}\n", plain(&run["at"]), plain(&run["trace"]), run["cause"]);
    parts(&mut text, run);
    for action in run["actions"].as_array().into_iter().flatten() {
        let (state, message) = (plain(&action["state"]), plain(&action["message"]));
        let when = if state == "waiting" { format!("until {}", plain(&action["due"])) } else { message };
        text += &format!("  {state:9} {}: {when}\n", plain(&action["action"]));
    }
    text
}

/// Triggers and conditions, each with what it found.
fn parts(text: &mut String, judged: &Json) {
    for (kind, key) in [("trigger", "triggers"), ("condition", "conditions")] {
        for part in judged[key].as_array().into_iter().flatten() {
            part_text(text, kind, part, 0);
        }
    }
}

fn part_text(text: &mut String, kind: &str, part: &Json, depth: usize) {
    let holds = if part["holds"] == true { "yes" } else { "no " };
    let (what, found) = (plain(&part["what"]), plain(&part["found"]));
    *text += &format!("  {kind:9} {holds} {:indent$}{what}: {found}\n", "", indent = depth * 2);
    for inner in part["of"].as_array().into_iter().flatten() {
        part_text(text, "", inner, depth + 1);
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

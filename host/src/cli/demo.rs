//! `ledge demo`: `ledge up` for the samples, with curl lines to paste and the story as it happens.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::Value as Json;

use super::output::say;
use super::{curl, up};
use crate::bus::{Kind, Message, Source};
use crate::config::manifest::FILE_NAME;
use crate::gateway::monitor::{self, Bring};
use crate::gateway::{Gateway, Options};

pub async fn run(options: Options, monitor: Bring) -> anyhow::Result<()> {
    let given = options.admin_password.clone();
    let data = options.data.clone();
    let (gateway, stop) = up::start(&project_dir()?, options, monitor).await?;
    let curls = curl::lines(&gateway, &data, given.as_ref().map(|password| password.as_str()));
    // The gateway runs on where nobody reads what it says.
    let _ = say(format_args!("Paste these into another terminal:\n\n{}\n\nWhat happens (Ctrl-C stops):", curls.join("\n\n")));
    let story = tell(&gateway);
    tokio::select! {
        () = story => Ok(()),
        ended = stop.until_told(gateway) => ended,
    }
}

/// The samples of this repository, from wherever in it the command is typed.
fn project_dir() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let built_from = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let roots = here.ancestors().map(PathBuf::from).chain([built_from]);
    let mut samples = roots.map(|root| root.join("sample-functions"));
    match samples.find(|dir| dir.join(FILE_NAME).is_file()) {
        Some(dir) => Ok(dir),
        None => bail!("the demo needs Ledge's repository: run it there, or start with `ledge new function hello`"),
    }
}

/// Prints each report of the demo's things as it comes; the gateway itself is none of the story.
fn tell(gateway: &Gateway) -> impl Future<Output = ()> + use<> {
    const MESSAGES_WAITING_MAX: usize = 64;
    let mut reports = gateway
        .bus
        .subscribe(|message| matches!(&message.source, Source::Thing(id) if id.product_key != monitor::PRODUCT), MESSAGES_WAITING_MAX);
    async move {
        while let Some(message) = reports.next().await {
            if let Some(line) = line(&message) {
                let _ = say(format_args!("  {line}"));
            }
        }
    }
}

fn line(message: &Message) -> Option<String> {
    let Source::Thing(thing) = &message.source else { return None };
    let payload: Json = serde_json::from_slice(message.payload.bytes()).ok()?;
    match &message.kind {
        Kind::Properties => {
            let values = payload.as_object()?.iter().map(|(name, it)| format!("{name} = {}", it["value"]));
            Some(format!("{thing} reports {}", values.collect::<Vec<_>>().join(", ")))
        }
        Kind::Event(event) => Some(format!("{thing} says `{event}`: {}", payload["params"]["value"])),
        Kind::Status { .. } | Kind::Message => None,
    }
}

//! `ledge product`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Subcommand;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::thing::tsl::too_deep;

#[derive(Subcommand)]
pub enum Command {
    /// Add a product, or change the model of the one of this key, from now on and after every restart.
    Import {
        /// The product key: 1 to 64 letters, digits and `_ - . @ :`.
        key: String,
        /// The TSL: a JSON file.
        tsl: PathBuf,
        /// Its ext info (`customize` for each property): a JSON file. Without it what is there stays.
        #[arg(long, value_name = "FILE")]
        ext: Option<PathBuf>,
        /// What people call it. Without it what is there stays.
        #[arg(long)]
        name: Option<String>,
        /// What the history of each of its things may take on disk, in bytes; 0 keeps none.
        #[arg(long, value_name = "BYTES")]
        history_bytes: Option<u32>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print a product as it is on the gateway, with its TSL.
    Show {
        /// The product key.
        key: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Take a product away. It must have no things.
    Delete {
        /// The product key.
        key: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Import { key, tsl, ext, name, history_bytes, target } => {
            let mut body = json!({"tsl": read(&tsl)?});
            let ext = ext.map(|ext| read(&ext)).transpose()?;
            let given = [("tsl_ext", ext), ("name", name.map(Json::from)), ("history_bytes", history_bytes.map(Json::from))];
            for (member, value) in given {
                if let Some(value) = value {
                    body[member] = value;
                }
            }
            send(&target, Method::PUT, &key, body.to_string().into()).await?.json()?;
            Ok(say(format_args!("product `{key}` is on the gateway"))?)
        }
        Command::Show { key, target } => {
            let shown = send(&target, Method::GET, &key, Bytes::new()).await?.json()?;
            Ok(say(serde_json::to_string_pretty(&shown)?)?)
        }
        Command::Delete { key, target } => {
            send(&target, Method::DELETE, &key, Bytes::new()).await?.json()?;
            Ok(say(format_args!("product `{key}` is deleted"))?)
        }
    }
}

async fn send(target: &TargetArgs, method: Method, key: &str, body: Bytes) -> anyhow::Result<super::client::Answer> {
    let path = format!("/ledge/v1/products/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
    Client::of(target)?.send(method, &path, &[], body).await
}

fn read(file: &std::path::Path) -> anyhow::Result<Json> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading `{}`", file.display()))?;
    // Some editors put a byte order mark before JSON, which no JSON parser takes.
    let text = text.trim_start_matches('\u{feff}');
    if let Some(problem) = too_deep(text.as_bytes()) {
        bail!("`{}` is wrong at {problem}", file.display());
    }
    serde_json::from_str(text).with_context(|| format!("`{}` is not valid JSON", file.display()))
}

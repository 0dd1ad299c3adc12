//! `ledge certificate`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use hyper::Method;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::TargetArgs;
use super::client::Client;
use super::output::say;

#[derive(Subcommand)]
pub enum Command {
    /// Serve another certificate from the next connection on. Connections that are open stay.
    Set {
        /// The certificate in PEM, followed by those that vouch for it.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Its private key in PEM, without a passphrase. The gateway keeps it sealed.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print the fingerprint of the certificate that is served, and the certificate.
    Show {
        #[command(flatten)]
        target: TargetArgs,
    },
}

const PATH: &str = "/ledge/v1/certificate";

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set { cert, key, target } => {
            let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
            let (certificate, key) = (read(&cert)?, Zeroizing::new(read(&key)?));
            let body = json!({"certificate": certificate, "key": *key}).to_string();
            let set = Client::of(&target)?.send(Method::PUT, PATH, &[], body.into()).await?.json()?;
            Ok(say(format_args!("new connections get the certificate with the fingerprint {}", text(&set, "fingerprint")))?)
        }
        Command::Show { target } => {
            let shown = Client::of(&target)?.get_json(PATH).await?;
            Ok(say(format_args!("{}\n{}", text(&shown, "fingerprint"), text(&shown, "certificate").trim_end()))?)
        }
    }
}

fn text<'a>(answer: &'a Json, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}

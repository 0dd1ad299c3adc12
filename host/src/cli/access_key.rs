//! `ledge user key`.

use clap::Subcommand;
use hyper::Method;

use super::TargetArgs;
use super::client::Client;
use super::output::say;

#[derive(Subcommand)]
pub enum Command {
    /// Make an access key, with which a program signs its requests as this user. Its secret is printed once.
    Add {
        name: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// The ids of a user's access keys, the oldest first.
    List {
        name: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete an access key, which opens nothing from then on.
    Delete {
        name: String,
        id: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Add { name, target } => {
            let key = Client::of(&target)?.send(Method::POST, &path(&name, ""), &[], "".into()).await?.json()?;
            let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
            say(format_args!("access key id: {}", text("id")))?;
            Ok(say(format_args!("access key secret (shown once): {}", text("secret")))?)
        }
        Command::List { name, target } => {
            let keys = Client::of(&target)?.get_json(&path(&name, "")).await?;
            for key in keys.as_array().into_iter().flatten() {
                say(format_args!("{}  {}", key["id"].as_str().unwrap_or_default(), key["created"].as_str().unwrap_or_default()))?;
            }
            Ok(())
        }
        Command::Delete { name, id, target } => {
            Client::of(&target)?.send(Method::DELETE, &path(&name, &id), &[], "".into()).await?.ok()?;
            Ok(say(format_args!("access key `{id}` is deleted"))?)
        }
    }
}

fn path(name: &str, id: &str) -> String {
    let escaped = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    let slash = if id.is_empty() { "" } else { "/" };
    format!("/ledge/v1/users/{}/access-keys{slash}{}", escaped(name), escaped(id))
}

//! `ledge user`.

use std::io::Read;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value as Json, json};

use super::client::Client;
use super::output::say;
use super::{TargetArgs, access_key};

#[derive(Subcommand)]
pub enum Command {
    /// Add a user, or change what one may do: what is given here replaces what was given before. A new one gets a password that is printed once, unless --password-stdin gives one.
    Set {
        /// 1 to 64 letters, digits and `- _ . @`.
        name: String,
        #[command(flatten)]
        rights: RightsArgs,
        /// Read the password from standard input: 12 to 128 characters, one line.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Give a user another password, and end all that the old one opened.
    Password {
        name: String,
        /// Read it from standard input, in place of one that is made and printed.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Access keys of users, for programs that sign their requests.
    #[command(subcommand)]
    Key(access_key::Command),
    /// Delete a user, and end all that they opened.
    Delete {
        name: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Args)]
pub struct RightsArgs {
    /// admin: everything; operator: everything but deploying and users; viewer: looking.
    #[arg(long)]
    role: String,
    /// Of the role's permissions, only these (things.read, things.write, things.call, events.read, functions.invoke, functions.read,
    /// functions.operate, rules.read, rules.operate, deploy, metrics.read, users).
    #[arg(long = "only", value_name = "PERMISSION", value_delimiter = ',')]
    permissions: Vec<String>,
    /// Things of these products only.
    #[arg(long = "product", value_name = "KEY", value_delimiter = ',')]
    products: Vec<String>,
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set { name, rights, password_stdin, target } => {
            let mut body = json!({"role": rights.role});
            for (member, given) in [("permissions", rights.permissions), ("products", rights.products)] {
                if !given.is_empty() {
                    body[member] = given.into();
                }
            }
            if password_stdin {
                body["password"] = read_password()?.into();
            }
            let set = send(&target, Method::PUT, &name, "", &body).await?;
            say(rights_of(&name, &set))?;
            Ok(tell(&set)?)
        }
        Command::Password { name, password_stdin, target } => {
            let body = if password_stdin { json!({"new": read_password()?}) } else { json!({}) };
            let changed = send(&target, Method::POST, &name, "/password", &body).await?;
            say(format_args!("user `{name}` has another password"))?;
            Ok(tell(&changed)?)
        }
        Command::Key(command) => access_key::run(command).await,
        Command::Delete { name, target } => {
            send(&target, Method::DELETE, &name, "", &Json::Null).await?;
            Ok(say(format_args!("user `{name}` is deleted"))?)
        }
    }
}

async fn send(target: &TargetArgs, method: Method, name: &str, rest: &str, body: &Json) -> anyhow::Result<Json> {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let path = format!("/ledge/v1/users/{name}{rest}");
    Client::of(target)?.send(method, &path, &[], body.to_string().into()).await?.json()
}

/// All of them, since they replace whatever the user had.
fn rights_of(name: &str, set: &Json) -> String {
    let listed = |member: &str| -> Option<String> {
        let names = set[member].as_array()?.iter().map(|name| name.as_str().unwrap_or_default());
        Some(names.collect::<Vec<_>>().join(", "))
    };
    let all = if set["products"].is_array() { "all of its permissions that are about things" } else { "all of its permissions" };
    let permissions = listed("permissions").map_or_else(|| all.to_owned(), |only| format!("of its permissions only {only}"));
    let products = listed("products").map_or_else(|| "things of all products".to_owned(), |only| format!("things of {only} only"));
    format!("user `{name}` has now the role {}, {permissions}, {products}", set["role"].as_str().unwrap_or_default())
}

fn tell(answer: &Json) -> std::io::Result<()> {
    match answer["password"].as_str() {
        Some(password) => say(format_args!("password (shown once): {password}")),
        None => Ok(()),
    }
}

fn read_password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(4_096).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

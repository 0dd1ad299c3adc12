//! `ledge version`, `ledge alias` and `ledge rollback`.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value as Json, json};

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::name::FunctionName;

#[derive(Subcommand)]
pub enum VersionCommand {
    /// Keep the functions of a service as they are deployed now, under a number that is never given again.
    Publish {
        /// The service: what stands before the slash in its functions' names.
        service: String,
        /// What it is, for people.
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete a version that no alias leads to.
    Delete {
        service: String,
        number: u32,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Subcommand)]
pub enum AliasCommand {
    /// Add an alias of a version, or change the one of that name. Its functions are called as SERVICE.ALIAS/FUNCTION.
    Set {
        service: String,
        /// A letter, and then letters, digits, `_` and `-`.
        alias: String,
        /// The number of the version.
        version: u32,
        /// Send some calls to another version, as in 4=10: ten of a hundred to version 4.
        #[arg(long, value_name = "VERSION=PERCENT", value_parser = also)]
        also: Option<(u32, u8)>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete an alias. The versions stay.
    Delete {
        service: String,
        alias: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Args)]
pub struct RollbackArgs {
    /// The function, as SERVICE/FUNCTION.
    function: FunctionName,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn version(command: VersionCommand) -> anyhow::Result<()> {
    match command {
        VersionCommand::Publish { service, description, target } => {
            let path = format!("/ledge/v1/versions/{service}");
            let published = send(&target, Method::POST, &path, &json!({"description": description})).await?;
            Ok(say(format_args!("service {service} has version {}", published["version"]))?)
        }
        VersionCommand::Delete { service, number, target } => {
            send(&target, Method::DELETE, &format!("/ledge/v1/versions/{service}/{number}"), &Json::Null).await?;
            Ok(say(format_args!("deleted: version {number} of service {service}"))?)
        }
    }
}

pub async fn alias(command: AliasCommand) -> anyhow::Result<()> {
    match command {
        AliasCommand::Set { service, alias, version, also, target } => {
            let path = format!("/ledge/v1/aliases/{service}/{alias}");
            let also_json = also.map(|(version, percent)| json!({"version": version, "percent": percent}));
            send(&target, Method::PUT, &path, &json!({"version": version, "also": also_json})).await?;
            let rest = also.map_or_else(String::new, |(version, percent)| format!(", and {percent} of a hundred calls to {version}"));
            Ok(say(format_args!("{service}.{alias} leads to version {version}{rest}"))?)
        }
        AliasCommand::Delete { service, alias, target } => {
            send(&target, Method::DELETE, &format!("/ledge/v1/aliases/{service}/{alias}"), &Json::Null).await?;
            Ok(say(format_args!("deleted: alias {service}.{alias}"))?)
        }
    }
}

pub async fn roll_back(args: RollbackArgs) -> anyhow::Result<()> {
    let RollbackArgs { function, target } = args;
    let back = send(&target, Method::POST, &format!("/ledge/v1/functions/{function}/rollback"), &Json::Null).await?;
    let component: String = back["component"].as_str().unwrap_or_default().chars().take(12).collect();
    Ok(say(format_args!("function {function} is what it was before its last deployment: component {component}"))?)
}

async fn send(target: &TargetArgs, method: Method, path: &str, body: &Json) -> anyhow::Result<Json> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Client::of(target)?.send(method, path, &[], body.into()).await?.json()
}

fn also(text: &str) -> Result<(u32, u8), String> {
    let wrong = || "expected VERSION=PERCENT, as in 4=10".to_owned();
    let (version, percent) = text.split_once('=').ok_or_else(wrong)?;
    let percent: u8 = percent.trim_end_matches('%').parse().map_err(|_| wrong())?;
    if !(1..=99).contains(&percent) {
        return Err("expected 1 to 99 of a hundred calls".to_owned());
    }
    Ok((version.parse().map_err(|_| wrong())?, percent))
}

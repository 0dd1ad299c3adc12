//! `ledge route`.

use clap::{Args, Subcommand};
use hyper::Method;

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::name::FunctionName;
use crate::set::{Qos, Route, RouteSource, RouteTopic, check_device_source};
use crate::topic::TopicFilter;

#[derive(Subcommand)]
pub enum Command {
    /// Route messages to a function, from now on and after every restart.
    Add(RouteArgs),
    /// Take a route away. `ledge list routes` shows those that there are.
    Delete(RouteArgs),
}

#[derive(Args)]
pub struct RouteArgs {
    #[command(flatten)]
    source: Source,
    /// Of which messages: a topic filter, `property` (reports of properties) or `all`.
    #[arg(long, default_value = "all", value_parser = RouteTopic::parse)]
    topic: RouteTopic,
    /// The function that is invoked, as SERVICE/FUNCTION.
    #[arg(long)]
    to: FunctionName,
    /// 1: on the disk before it is acknowledged, and at least once. 0: once, or never.
    #[arg(long, default_value = "0", value_parser = qos)]
    qos: Qos,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Messages of devices: /PRODUCT/THING, /PRODUCT/+ or #.
    #[arg(long, value_parser = device)]
    device: Option<TopicFilter>,
    /// Messages that a function publishes, as SERVICE/FUNCTION.
    #[arg(long)]
    function: Option<FunctionName>,
    /// Messages that an automation rule publishes, by the rule's name.
    #[arg(long)]
    rule: Option<String>,
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    let (method, args, done) = match command {
        Command::Add(args) => (Method::POST, args, "added"),
        Command::Delete(args) => (Method::DELETE, args, "deleted"),
    };
    let RouteArgs { source, topic, to, qos, target } = args;
    let source = match source {
        Source { device: Some(filter), .. } => RouteSource::Device(filter),
        Source { function: Some(name), .. } => RouteSource::Function(name),
        Source { rule: Some(name), .. } => RouteSource::Rule(name),
        Source { .. } => anyhow::bail!("a route has a source: --device, --function or --rule"),
    };
    let route = Route { source, topic, target: to, qos };
    let body = serde_json::to_vec(&route)?;
    Client::of(&target)?.send(method, "/ledge/v1/routes", &[], body.into()).await?.ok()?;
    Ok(say(format_args!("{done}: {}, {}, to {}", route.source, route.topic, route.target))?)
}

fn device(text: &str) -> Result<TopicFilter, String> {
    check_device_source(text)?;
    text.parse().map_err(|wrong: crate::topic::TopicError| wrong.to_string())
}

fn qos(text: &str) -> Result<Qos, String> {
    text.parse::<u8>().map_err(|_| "QoS is 0 or 1".to_owned()).and_then(|number| Qos::try_from(number).map_err(str::to_owned))
}

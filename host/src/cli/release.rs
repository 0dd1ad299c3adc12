//! `ledge release`.

use bytes::Bytes;
use hyper::Method;

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::name::{self, FunctionName};

pub async fn run(name: &str, target: TargetArgs) -> anyhow::Result<()> {
    let (path, list) = if name.contains('/') {
        let function: FunctionName = name.parse()?;
        (format!("functions/{function}"), "functions")
    } else {
        name::check_driver(name)?;
        (format!("drivers/{name}"), "drivers")
    };
    let answer = Client::of(&target)?.send(Method::POST, &format!("/ledge/v1/{path}/release"), &[], Bytes::new()).await?;
    answer.ok()?;
    Ok(say(format_args!("`{name}` starts again; `ledge list {list}` shows how it does"))?)
}

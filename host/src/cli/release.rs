//! `ledge release`.

use bytes::Bytes;
use hyper::Method;

use super::TargetArgs;
use super::client::Client;
use super::output::say;
use crate::name;

pub async fn run(driver: &str, target: TargetArgs) -> anyhow::Result<()> {
    name::check_driver(driver)?;
    let path = format!("/ledge/v1/drivers/{driver}/release");
    let answer = Client::of(&target)?.send(Method::POST, &path, &[], Bytes::new()).await?;
    answer.ok()?;
    Ok(say(format_args!("driver `{driver}` starts again; `ledge list drivers` shows how it does"))?)
}

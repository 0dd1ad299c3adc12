//! The gateway's figures as properties of its thing.

use ledge_sdk::gateway_info::Info;
use ledge_sdk::value::Properties;

/// What there is: a machine without a sensor has no `temperature`.
pub fn properties(info: &Info) -> Properties {
    let figures = Properties::new()
        .with("version", info.version.as_str())
        .with("cpu_core_number", whole(info.cpu_cores.into()))
        .with("cpu_usage", info.cpu_usage_percent)
        .with("memory_total", megabytes(info.memory_total_bytes))
        .with("memory_used", megabytes(info.memory_used_bytes))
        .with("disk_total", megabytes(info.disk_total_bytes))
        .with("disk_used", megabytes(info.disk_used_bytes))
        .with("uptime", whole(info.uptime_s))
        .with("machine_uptime", whole(info.machine_uptime_s));
    match info.temperature_celsius {
        Some(celsius) => figures.with("temperature", celsius),
        None => figures,
    }
}

fn megabytes(bytes: u64) -> i32 {
    whole(bytes / 1_000_000)
}

/// A property's whole numbers have 32 bits, and no machine shall make the driver fail that has more of something.
fn whole(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

//! What is counted of functions, as services.

use ledge_sdk::Fault;
use ledge_sdk::gateway_info::{self, FunctionCounter};
use ledge_sdk::serde_json::{Value as Json, json};
use ledge_sdk::value::{Properties, Value};

/// The counters of the function `name`.
pub const OF_ONE: &str = "function_counters";
/// The functions from the place `from` on, with their counters, and how many there are.
pub const OF_ALL: &str = "list_functions";

/// Functions in one answer. The model says so too.
const FUNCTIONS_MAX: usize = 100;

pub async fn of_one(arguments: &Properties) -> Result<Properties, Fault> {
    let name: String = arguments.get("name").map_err(wrong)?;
    let counters = gateway_info::function_counters_of(&name).await?;
    // An alias may lead to two, which share its calls.
    let sum = |of: fn(&FunctionCounter) -> u64| count(counters.iter().map(of).sum());
    Ok(Properties::new()
        .with("done", sum(|counter| counter.done))
        .with("handled_errors", sum(|counter| counter.handled_errors))
        .with("unhandled_errors", sum(|counter| counter.unhandled_errors))
        .with("refused", sum(|counter| counter.refused))
        .with("running", sum(|counter| counter.running.into()))
        .with("seconds", counters.iter().map(|counter| counter.seconds).sum::<f64>())
        .with("loaded", counters.iter().any(|counter| counter.is_loaded)))
}

pub async fn of_all(arguments: &Properties) -> Result<Properties, Fault> {
    let from: u32 = arguments.get("from").unwrap_or_default();
    let counters = gateway_info::function_counters().await?;
    let some: Vec<Json> = counters.iter().skip(from as usize).take(FUNCTIONS_MAX).map(row).collect();
    let total = i32::try_from(counters.len()).unwrap_or(i32::MAX);
    Ok(Properties::new().with("total", total).with("functions", Value::Compound(Json::from(some).to_string())))
}

fn row(counter: &FunctionCounter) -> Json {
    json!({
        "name": counter.name,
        "done": counter.done,
        "handled_errors": counter.handled_errors,
        "unhandled_errors": counter.unhandled_errors,
        "refused": counter.refused,
        "running": counter.running,
        "seconds": counter.seconds,
        "loaded": u8::from(counter.is_loaded),
    })
}

/// A gateway that calls a function 10,000 times a second passes 32 bits within three days; a double counts exactly for 28,000 years.
fn count(calls: u64) -> f64 {
    calls as f64
}

fn wrong(error: impl std::fmt::Display) -> Fault {
    Fault::new(Fault::SERVICE_INPUT_PARAM, error.to_string())
}

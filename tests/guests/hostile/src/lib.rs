//! A function that attacks its gateway: the first word of its event says how, and each way is a file of its own.
//!
//! `use MIB` is no attack: it works with so much memory for 20 ms, as an honest call may. Any other event is echoed.

mod call_cancelled;
mod handles;
mod host_call_storm;
mod huge_list;
mod huge_result;
mod infinite_loop;
mod log_flood;
mod memory_bomb;
mod memory_copy;
mod ping_pong;
mod publish_flood;
mod recursion;
mod sleep;
mod trap_storm;

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, context: Context) -> Result<Vec<u8>, Error> {
    let text = String::from_utf8_lossy(&event).into_owned();
    let (attack, argument) = text.split_once(' ').unwrap_or((&text, ""));
    match attack {
        "infinite-loop" => infinite_loop::run(),
        "host-call-storm" => host_call_storm::run(),
        "memory-copy" => memory_copy::run(),
        "memory-bomb" => memory_bomb::run(),
        "huge-list" => huge_list::claim(),
        "huge-list-of-one" => huge_list::repeat(),
        "handles" => handles::run(),
        "recursion" => Ok(recursion::run()),
        "ping-pong" => ping_pong::run(&context, argument),
        "log-flood" => log_flood::run(),
        "trap-storm" => trap_storm::run(),
        "sleep" => sleep::run(),
        "publish-flood" => publish_flood::run(),
        "huge-result" => Ok(huge_result::run()),
        "call-cancelled" => call_cancelled::run(),
        "use" => Ok(memory_bomb::fill(argument.parse()?)),
        _ => Ok(event),
    }
}

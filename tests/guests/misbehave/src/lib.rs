//! A function that breaks every limit, one at a time: the first word of its event says which.
//!
//! Any other event is echoed.

use std::hint::black_box;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ledge_sdk::fc::{self, Request};
use ledge_sdk::handler::Context;
use ledge_sdk::serde_json::json;
use ledge_sdk::{Error, Fault, credentials, iot_data};

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<Vec<u8>, Error> {
    let text = String::from_utf8_lossy(&event).into_owned();
    let (what, count) = text.split_once(' ').unwrap_or((&text, ""));
    match what {
        "spin" => loop {
            black_box(());
        },
        "spin-host" => loop {
            black_box(Instant::now());
        },
        "sleep" => std::thread::sleep(Duration::from_secs(3_600)),
        "panic" => panic!("panicked as asked"),
        "trap" => std::process::abort(),
        "memory" => eat_memory(),
        "recurse" => return Ok(recurse(count.parse().unwrap_or(u64::MAX)).to_string().into()),
        "random" => return Ok(random(count.parse()?)),
        "error" => return Err("as asked".into()),
        "big" => return Ok(vec![b'x'; count.parse()?]),
        "log" => println!("{}", "x".repeat(count.parse()?)),
        "publish" => return publish(count.parse()?),
        "invoke" => return Ok(invoke(count.parse()?).into()),
        "deny" => return Ok(denied().into()),
        "socket" => return Ok(TcpStream::connect("127.0.0.1:9").map_or_else(|error| error.to_string(), |_| "connected".into()).into()),
        "file" => return Ok(files().into()),
        _ => return Ok(event),
    }
    Ok(Vec::new())
}

/// Publishes so many messages, and says how many went through and what the first of the others was told.
fn publish(count: u32) -> Result<Vec<u8>, Error> {
    let answers: Vec<Result<(), Fault>> = (0..count).map(|_| iot_data::publish("/flood", "x")).collect();
    let through = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers.into_iter().find_map(Result::err).map_or_else(String::new, |fault| fault.message);
    Ok(format!("{through} {refused}").into())
}

/// Invokes `test/neighbour` so many times, and says how many went through and the numbers of the faults of the others.
fn invoke(count: u32) -> String {
    let neighbour = Request::new("test", "neighbour");
    let codes: Vec<u32> = (0..count).map(|_| code(fc::invoke(&neighbour))).collect();
    let mut refused: Vec<u32> = codes.iter().copied().filter(|code| *code != 0).collect();
    let through = codes.len() - refused.len();
    refused.dedup();
    format!("{through} {refused:?}")
}

/// So many random bytes in one call, which the standard library would divide into many.
fn random(count: u64) -> Vec<u8> {
    #[repr(C)]
    struct List {
        start: *mut u8,
        bytes: usize,
    }
    #[link(wasm_import_module = "wasi:random/random@0.2.0")]
    unsafe extern "C" {
        #[link_name = "get-random-bytes"]
        fn get_random_bytes(bytes: u64, answer: *mut List);
    }
    let mut answer = List { start: std::ptr::null_mut(), bytes: 0 };
    // SAFETY: the host puts a list into `answer`, whose bytes it took from this guest's allocator.
    unsafe {
        get_random_bytes(count, &raw mut answer);
        Vec::from_raw_parts(answer.start, answer.bytes, answer.bytes)
    }
}

fn eat_memory() -> ! {
    let mut eaten = Vec::new();
    loop {
        // Not zero: the bytes have to be written, and so the pages to be there.
        eaten.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// With the largest depth it never ends in practice. Keeps nothing in memory, so that the stack of the calls overflows first, and no compiler can
/// make a loop of it: the result is worked on after the call.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { recurse(depth - 1).rotate_left(1) ^ depth }
}

/// What each call answers that nothing grants: the fault's number, or 0 if it was let through.
fn denied() -> String {
    const NOBODY: (&str, &str) = ("a1Nobody", "nothing-1");
    let request = Request::new("Nobody", "nothing");
    json!({
        "publish": code(iot_data::publish("/nobody/nothing", "x")),
        "get_thing_properties": code(iot_data::get_thing_properties(NOBODY.0, NOBODY.1, &["Nothing"])),
        "set_thing_properties": code(iot_data::set_thing_properties(NOBODY.0, NOBODY.1, [("Nothing", 1)])),
        "call_thing_service": code(iot_data::call_thing_service(NOBODY.0, NOBODY.1, "nothing", ())),
        "get_things_with_tags": code(iot_data::get_things_with_tags(&[("nobody", "nothing")])),
        "invoke": code(fc::invoke(&request)),
        "invoke_async": code(fc::invoke_async(&request)),
        "credentials": code(credentials::get()),
    })
    .to_string()
}

fn code<T>(answer: Result<T, Fault>) -> u32 {
    answer.err().map_or(0, |fault| fault.code)
}

fn files() -> String {
    let list = std::fs::read_dir("/").map(|entries| entries.count());
    let read = std::fs::read("/etc/passwd").map(|bytes| bytes.len());
    let text = |answer: std::io::Result<usize>| answer.map_or_else(|error| error.to_string(), |count| format!("let through: {count}"));
    json!({ "list": text(list), "read": text(read) }).to_string()
}

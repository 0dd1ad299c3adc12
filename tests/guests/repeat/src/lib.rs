//! A function that does one thing many times, so that one of them can be timed from outside.
//!
//! `invoke N SERVICE FUNCTION` invokes a function, `async N SERVICE FUNCTION` has it invoked later, with 256 bytes, `get N PRODUCT THING PROPERTY` asks for a property, `work N` computes.

use std::hint::black_box;

use ledge_sdk::fc::{self, Request};
use ledge_sdk::handler::Context;
use ledge_sdk::{Error, iot_data};

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<&'static str, Error> {
    let event = String::from_utf8(event)?;
    let words: Vec<&str> = event.split(' ').collect();
    match words.as_slice() {
        ["invoke", count, service, function] => {
            for _ in 0..count.parse()? {
                fc::invoke(&Request::new(*service, *function))?.into_result()?;
            }
        }
        ["async", count, service, function] => {
            let request = Request::new(*service, *function).payload([b'x'; 256]);
            for _ in 0..count.parse()? {
                fc::invoke_async(&request)?;
            }
        }
        ["get", count, product, thing, property] => {
            for _ in 0..count.parse()? {
                iot_data::get_thing_properties(product, thing, &[*property])?;
            }
        }
        ["work", count] => {
            let mut sum = 0_u64;
            for step in 0..count.parse::<u64>()? {
                sum = black_box(sum.rotate_left(5) ^ step);
            }
        }
        _ => return Err("expected `invoke`, `async`, `get` or `work`".into()),
    }
    Ok("done")
}

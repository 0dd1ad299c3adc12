//! A function that never finishes its start: what runs before anything can be called computes for ever.

use std::hint::black_box;

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<Vec<u8>, Error> {
    Ok(event)
}

/// A component calls the export of this name when it is instantiated.
// SAFETY: nothing else in this guest has the name.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    loop {
        black_box(());
    }
}

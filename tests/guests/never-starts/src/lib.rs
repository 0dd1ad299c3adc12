//! A function that never finishes its start: a constructor, which runs before anything can be called, computes for ever.

use std::hint::black_box;

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<Vec<u8>, Error> {
    Ok(event)
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = never_ends;

extern "C" fn never_ends() {
    loop {
        black_box(());
    }
}

//! Calls itself for ever.

use std::hint::black_box;

pub fn run() -> Vec<u8> {
    deeper(black_box(u64::MAX)).to_string().into()
}

/// Keeps nothing in the memory, so that the stack of the calls overflows first, and no compiler can make a loop of it: the
/// result is worked on after the call.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == 0 { 0 } else { deeper(depth - 1).rotate_left(1) ^ depth }
}

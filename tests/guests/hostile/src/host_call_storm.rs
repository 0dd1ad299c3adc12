//! Asks the host for the time, as fast as it can, for ever.

use std::hint::black_box;
use std::time::Instant;

pub fn run() -> ! {
    loop {
        black_box(Instant::now());
    }
}

//! Computes for ever.

use std::hint::black_box;

pub fn run() -> ! {
    loop {
        black_box(());
    }
}

//! Copies 64 MiB at a time, for ever. Each copy is one instruction.

use std::hint::black_box;

const BYTES: usize = 64 << 20;

pub fn run() -> ! {
    let from = vec![1_u8; BYTES];
    let mut to = vec![0_u8; BYTES];
    loop {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
}

//! Takes memory for ever.

use std::hint::black_box;

pub fn run() -> ! {
    let mut taken = Vec::new();
    loop {
        // Not zeros: the bytes have to be written, and so the pages to be there.
        taken.push(black_box(vec![1_u8; 256 << 10]));
    }
}

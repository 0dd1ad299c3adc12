//! Takes memory for ever.

use std::hint::black_box;
use std::time::Duration;

/// Small enough that the last one that fits comes close to the limit.
const PIECE_BYTES: usize = 256 << 10;

pub fn run() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(piece());
    }
}

/// Takes so much and no more, and keeps it for a while, as others that run at the same time do.
pub fn fill(mib: usize) -> Vec<u8> {
    let pieces: Vec<_> = (0..mib << 20).step_by(PIECE_BYTES).map(|_| piece()).collect();
    std::thread::sleep(Duration::from_millis(20));
    pieces.len().to_string().into()
}

/// Not zeros: the bytes have to be written, and so the pages to be there.
fn piece() -> Vec<u8> {
    black_box(vec![1; PIECE_BYTES])
}

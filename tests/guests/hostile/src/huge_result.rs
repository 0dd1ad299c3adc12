//! Returns a result of 100 MiB.

const BYTES: usize = 100 << 20;

pub fn run() -> Vec<u8> {
    vec![b'x'; BYTES]
}

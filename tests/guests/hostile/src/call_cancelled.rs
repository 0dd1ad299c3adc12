//! Does some of everything for some milliseconds, so that a call that is cancelled is cancelled in the midst of anything.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ledge_sdk::fc::{self, Request};
use ledge_sdk::{Error, iot_data};

const LONG_ENOUGH: Duration = Duration::from_millis(20);

pub fn run() -> Result<Vec<u8>, Error> {
    let began = Instant::now();
    let mut kept = Vec::new();
    while began.elapsed() < LONG_ENOUGH {
        kept.push(black_box(vec![1_u8; 64 << 10]));
        let _ = iot_data::publish("/hostile/cancelled", &kept[0][..1_024]);
        let _ = fc::invoke(&Request::new("test", "neighbour").payload("nested"));
        println!("{} pieces are kept", kept.len());
        std::thread::sleep(Duration::from_micros(100));
        black_box((0..10_000_u64).fold(0, |sum, number| black_box(sum ^ number)));
    }
    Ok(b"not cancelled".into())
}

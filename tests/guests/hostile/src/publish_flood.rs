//! Publishes for ever, whatever it is answered.

use ledge_sdk::iot_data;

const PAYLOAD: [u8; 1_024] = [b'x'; 1_024];

pub fn run() -> ! {
    loop {
        let _ = iot_data::publish("/hostile/flood", PAYLOAD);
    }
}

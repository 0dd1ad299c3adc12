//! Registers its thing again and again, and lets go of none of the handles.

use std::mem;

use ledge_sdk::Error;
use ledge_sdk::thing_access::{DeviceInfo, Thing};

pub async fn run(device: &DeviceInfo) -> Result<(), Error> {
    loop {
        mem::forget(Thing::register(device).await?);
    }
}

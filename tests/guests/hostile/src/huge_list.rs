//! Hands the host a list of a gibibyte, which it does not have.

use std::hint::black_box;
use std::slice;

use ledge_sdk::{Error, iot_data};

const GIB: usize = 1 << 30;
/// What the memory of any function holds.
const TEXT_BYTES: usize = 1 << 20;

/// One list, most of which lies beyond the end of the memory.
pub fn claim() -> Result<Vec<u8>, Error> {
    let start = black_box(1_024 as *const u8);
    // SAFETY: none. The host has to see that the list is not there; nothing in this guest reads it.
    let list = unsafe { slice::from_raw_parts(start, GIB) };
    iot_data::publish("/hostile/list", list)?;
    Ok(b"the host took it".into())
}

/// One text that is there, so many times that the host's copy would be a gibibyte.
pub fn repeat() -> Result<Vec<u8>, Error> {
    let text = "x".repeat(TEXT_BYTES);
    let text = raw::Text { start: text.as_ptr(), bytes: text.len() };
    raw::get_thing_properties(&vec![text; GIB / TEXT_BYTES])?;
    Ok(b"the host took it".into())
}

/// The call without the SDK, which would copy each text, and run out of the guest's own memory.
mod raw {
    use ledge_sdk::Error;

    #[link(wasm_import_module = "ledge:edge/iot-data@0.1.0")]
    unsafe extern "C" {
        #[link_name = "get-thing-properties"]
        fn get_thing_properties_import(
            product: *const u8,
            product_bytes: usize,
            device: *const u8,
            device_bytes: usize,
            identifiers: *const Text,
            count: usize,
            answer: *mut u8,
        );
    }

    /// One string of a list of them, as the canonical ABI has it.
    #[derive(Clone, Copy)]
    #[repr(C)]
    pub struct Text {
        pub start: *const u8,
        pub bytes: usize,
    }

    /// Room for the answer, which is a variant of a list and a fault.
    #[repr(align(8))]
    struct Answer([u8; 64]);

    pub fn get_thing_properties(identifiers: &[Text]) -> Result<(), Error> {
        let (product, device) = ("a1Nobody", "nothing");
        let mut answer = Answer([0; 64]);
        // SAFETY: every text is there, and so is the room for the answer.
        unsafe {
            let (identifiers, count) = (identifiers.as_ptr(), identifiers.len());
            let answer = answer.0.as_mut_ptr();
            get_thing_properties_import(product.as_ptr(), product.len(), device.as_ptr(), device.len(), identifiers, count, answer);
        }
        if answer.0[0] == 0 { Ok(()) } else { Err("the host read it, and answered with a fault".into()) }
    }
}

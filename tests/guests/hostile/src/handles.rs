//! Takes handles of the host's things, and lets go of none.

#[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.0")]
unsafe extern "C" {
    /// Without the bindings, whose handle lets go when it is dropped.
    #[link_name = "subscribe-duration"]
    fn subscribe_duration(nanoseconds: i64) -> i32;
}

const HOUR_NS: i64 = 3_600_000_000_000;

pub fn run() -> ! {
    loop {
        // SAFETY: a number goes in and a handle comes out.
        unsafe { subscribe_duration(HOUR_NS) };
    }
}

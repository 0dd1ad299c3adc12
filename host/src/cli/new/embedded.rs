//! The guest SDK and the contract, as `ledge new` writes them beside a project. A test finds the file that is missing.

macro_rules! embed {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../", $path)))),*]
    };
}

/// Path below the root of Ledge's sources, and text.
pub const EMBEDDED: &[(&str, &str)] = embed![
    "guest-sdk/rust/Cargo.toml",
    "guest-sdk/rust/src/bindings.rs",
    "guest-sdk/rust/src/blocking.rs",
    "guest-sdk/rust/src/blocking/gateway_info.rs",
    "guest-sdk/rust/src/blocking/listen.rs",
    "guest-sdk/rust/src/clock.rs",
    "guest-sdk/rust/src/credentials.rs",
    "guest-sdk/rust/src/device.rs",
    "guest-sdk/rust/src/fc.rs",
    "guest-sdk/rust/src/gateway_info.rs",
    "guest-sdk/rust/src/handler.rs",
    "guest-sdk/rust/src/handler/routed_message.rs",
    "guest-sdk/rust/src/iot_data.rs",
    "guest-sdk/rust/src/kv.rs",
    "guest-sdk/rust/src/lib.rs",
    "guest-sdk/rust/src/listen.rs",
    "guest-sdk/rust/src/persistent.rs",
    "guest-sdk/rust/src/product_uses.rs",
    "guest-sdk/rust/src/tcp.rs",
    "guest-sdk/rust/src/thing_access.rs",
    "guest-sdk/rust/src/thing_access/config.rs",
    "guest-sdk/rust/src/types.rs",
    "guest-sdk/rust/src/value.rs",
    "guest-sdk/rust/src/value/convert.rs",
    "guest-sdk/rust/src/value/date.rs",
    "guest-sdk/rust/src/value/properties.rs",
    "wit/blocking-driver.wit",
    "wit/credentials.wit",
    "wit/deps/README.md",
    "wit/deps/clocks.wit",
    "wit/deps/io-0.2.wit",
    "wit/deps/sockets.wit",
    "wit/device.wit",
    "wit/fc.wit",
    "wit/gateway-figures.wit",
    "wit/gateway-info-blocking.wit",
    "wit/gateway-info.wit",
    "wit/handler.wit",
    "wit/iot-data.wit",
    "wit/kv.wit",
    "wit/listen-blocking.wit",
    "wit/listen.wit",
    "wit/persistent.wit",
    "wit/requests.wit",
    "wit/thing-access-blocking.wit",
    "wit/thing-access.wit",
    "wit/types.wit",
    "wit/world.wit",
];

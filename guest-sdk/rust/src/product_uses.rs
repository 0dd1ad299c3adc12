//! What a component uses of a product, written into the component, so that the gateway can hold it against the product it has.

/// Writes down what the component uses of a product: `ledge bindgen` writes the call, and nobody else need do so.
///
/// It takes a literal, which goes into the custom section `ledge:product`, one line for each call. There it takes no memory, and outlives
/// `strip` and `lto`.
#[macro_export]
macro_rules! product_uses {
    ($json:literal) => {
        // Elsewhere, as in a native test, sections have other names, and nobody reads this one.
        #[cfg(target_family = "wasm")]
        const _: () = {
            const TEXT: &[u8] = ::core::concat!($json, "\n").as_bytes();
            // Not `used`: it would become data of the program besides.
            #[unsafe(link_section = "ledge:product")]
            static USES: [u8; TEXT.len()] = *TEXT.first_chunk().unwrap();
        };
    };
}

//! A component for `wasi:http` 0.3, as far as its export says: it must be refused when it is deployed.

wit_bindgen::generate!({
    inline: "
        package wasi:http@0.3.0;
        interface handler { handle: async func(request: list<u8>) -> list<u8>; }
        world service { export handler; }
    ",
});

struct Next;

export!(Next);

impl exports::wasi::http::handler::Guest for Next {
    async fn handle(request: Vec<u8>) -> Vec<u8> {
        request
    }
}

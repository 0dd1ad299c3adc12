//! A function of a contract that this gateway does not speak: `ledge:edge@0.0.9`.

wit_bindgen::generate!({
    inline: "
        package ledge:edge@0.0.9;
        interface iot-data { publish: func(topic: string, payload: list<u8>); }
        interface handler { handle: func(event: list<u8>) -> list<u8>; }
        world function { import iot-data; export handler; }
    ",
});

struct Component;

impl exports::ledge::edge::handler::Guest for Component {
    fn handle(event: Vec<u8>) -> Vec<u8> {
        ledge::edge::iot_data::publish("/old", &event);
        event
    }
}

export!(Component);

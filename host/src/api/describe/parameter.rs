//! What parameters of one name have in common, wherever they stand in a path. Examples are those of the demo.

use serde_json::{Value as Json, json};

const PARAMETERS: [(&str, &str, &str); 12] = [
    ("service", "the name of a service", "EdgeFC"),
    ("function", "a function's name, without its service's", "helloworld"),
    ("arn", "the function, as `service:SERVICE:function:FUNCTION`", "service:EdgeFC:function:helloworld"),
    ("product", "the key of a product", "a1Light"),
    ("key", "the key of a product", "a1Light"),
    ("device", "the name of a thing", "lamp-1"),
    ("name", "a rule's name", "night-light"),
    ("alias", "the name of an alias", "live"),
    ("version", "the number of a version", "1"),
    ("trigger", "the name of a trigger", "hourly"),
    ("id", "of an invocation", "00000000-0000-0000-0000-000000000000"),
    ("digest", "SHA-256 of a component, in lower-case hex", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
];

/// What the handler says itself stays.
pub fn complete(parameter: &mut Json) {
    let Some((_, description, example)) = PARAMETERS.iter().find(|(name, ..)| parameter["in"] == "path" && parameter["name"] == *name)
    else {
        return;
    };
    for (member, value) in [("description", description), ("example", example)] {
        if parameter[member].is_null() {
            parameter[member] = json!(value);
        }
    }
}

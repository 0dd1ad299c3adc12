//! A function that does to a thing what its event says: `{"product", "device", "what"}`, where `what` is `get [PROPERTY]`,
//! `set PROPERTY VALUE` (the value as text), `call SERVICE [TEXT]`, `tags KEY VALUE`, or `history CURSOR COUNT` (of all times).
//!
//! It returns JSON: the values, or the fault as `{"code", "message"}`.

use ledge_sdk::handler::Context;
use ledge_sdk::serde_json::{self, Value as Json, json};
use ledge_sdk::{Error, Fault, iot_data};

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<String, Error> {
    let event: Json = serde_json::from_slice(&event)?;
    let answer = operate(&event).unwrap_or_else(|fault| json!({"code": fault.code, "message": fault.message}));
    Ok(answer.to_string())
}

fn operate(event: &Json) -> Result<Json, Fault> {
    let [product, device, what] = ["product", "device", "what"].map(|key| event[key].as_str().unwrap_or_default());
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["get", ref properties @ ..] => Ok(iot_data::get_thing_properties(product, device, properties)?.to_json()),
        ["set", property, value] => iot_data::set_thing_properties(product, device, [(property, value)]).map(|()| json!(true)),
        ["call", service] => Ok(iot_data::call_thing_service(product, device, service, ())?.to_json()),
        ["call", service, text] => Ok(iot_data::call_thing_service(product, device, service, [("text", text)])?.to_json()),
        ["tags", key, value] => {
            let things = iot_data::get_things_with_tags(&[(key, value)])?;
            Ok(things.iter().map(|thing| json!([thing.id.product_key, thing.id.device_name])).collect())
        }
        ["history", cursor, count] => {
            let number = |text: &str| text.parse().map_err(|_| Fault::new(Fault::INVALID_PARAM, "no number"));
            let page = iot_data::get_thing_history(product, device, 0..=u64::MAX, number(cursor)?, number(count)? as u32)?;
            let reports: Vec<_> = page.reports.iter().map(|report| json!([report.event, report.values.to_json()])).collect();
            Ok(json!({"reports": reports, "next": page.next}))
        }
        _ => Err(Fault::new(Fault::INVALID_PARAM, format!("`{what}` is none of what this function does"))),
    }
}

use ledge_sdk::serde_json::json;

use super::*;

/// The mapping of one property `p` of this type.
fn mapped(data_type: &Json, access: &str, customize: &Json) -> Result<Point, String> {
    let tsl = json!({"properties": [{"identifier": "p", "accessMode": access, "dataType": data_type}]});
    let extension = json!({"properties": [{"identifier": "p", "customize": customize}]});
    let mut mapping = read(&tsl.to_string(), &extension.to_string()).unwrap();
    mapping.points.pop().ok_or_else(|| mapping.problems.remove(0).1)
}

fn float(customize: &Json) -> Result<Point, String> {
    mapped(&json!({"type": "float", "specs": {}}), "rw", customize)
}

#[test]
fn a_property_is_where_its_mapping_says() {
    let point = float(&json!({
        "area": "holding", "address": "0x1F", "type": "float32", "swap_registers": true, "scale": "0.1", "offset": -5,
        "report": "change", "dead_band": 0.5, "interval_ms": "250", "write_function": 16, "note": "flow"
    }))
    .unwrap();
    assert_eq!((point.area, point.address, point.length()), (Area::Holding, 31, 2));
    assert!(point.layout.swap_registers && !point.layout.swap_bytes);
    assert_eq!((point.layout.scale, point.layout.offset), (0.1, -5.0));
    assert_eq!(point.report, Report::Change { dead_band: 0.5 });
    assert_eq!(point.interval, Some(Duration::from_millis(250)));
    assert_eq!(point.write_by, WriteBy::Multiple);
}

#[test]
fn what_is_not_said_is_usual() {
    let register = float(&json!({"area": "holding", "address": 0})).unwrap();
    assert_eq!((register.layout.kind, register.report, register.write_by), (Kind::Uint16, Report::Periodic, WriteBy::Usual));
    let coil = mapped(&json!({"type": "bool"}), "rw", &json!({"area": "COIL", "address": 7})).unwrap();
    assert_eq!((coil.area, coil.layout.kind), (Area::Coil, Kind::Bool));
    let field = float(&json!({"area": "holding", "address": 0, "bits": {"offset": 4, "count": 3}})).unwrap();
    assert_eq!((field.layout.bits, field.write_by), (Some(Bits { offset: 4, count: 3 }), WriteBy::Mask));
}

#[test]
fn a_wrong_mapping_says_why() {
    for (customize, reason) in [
        (json!({"area": "holding"}), "`address` is missing"),
        (json!({"address": 1}), "`area` is missing"),
        (json!({"area": "register", "address": 1}), "none of coil, discrete, holding, input"),
        (json!({"area": "holding", "address": 65536}), "from 0 to 65535"),
        (json!({"area": "holding", "address": 65535, "type": "uint32"}), "go beyond 65535"),
        (json!({"area": "holding", "address": 1, "type": "int8"}), "none of bool, int16"),
        (json!({"area": "holding", "address": 1, "adress": 1}), "no key `adress`"),
        (json!({"area": "holding", "address": 1, "scale": 0}), "`scale` is 0"),
        (json!({"area": "holding", "address": 1, "scale": "a"}), "no number"),
        (json!({"area": "coil", "address": 1, "type": "uint16"}), "is one bit"),
        (json!({"area": "holding", "address": 1, "bits": {"offset": 12, "count": 5}}), "beyond the register's 16"),
        (json!({"area": "holding", "address": 1, "bits": {"count": 5}}), "`offset` is missing"),
        (json!({"area": "holding", "address": 1, "type": "uint32", "bits": {"offset": 1}}), "`bits` are of one register"),
        (json!({"area": "holding", "address": 1, "dead_band": 1}), "goes with `report`"),
        (json!({"area": "holding", "address": 1, "report": "change", "dead_band": -1}), "below 0"),
        (json!({"area": "holding", "address": 1, "type": "string", "length": 4}), "`text` has the type `string`"),
        (json!({"area": "holding", "address": 1, "length": 4}), "counts the registers of a `string`"),
        (json!({"area": "holding", "address": 1, "interval_ms": 1}), "from 10 to 86400000"),
        (json!({"area": "holding", "address": 1, "write_function": 22}), "`write_function` 22 does not write it"),
        (json!({"area": "holding", "address": 1, "type": "int32", "write_function": 6}), "6 for one holding register"),
        (json!({"area": "input", "address": 1}), "a device's inputs cannot"),
        (json!(7), "7 is no object"),
        (json!(null), "null is no object"),
    ] {
        let said = float(&customize).unwrap_err();
        assert!(said.contains(reason), "{customize}: {said}");
    }
    let text = json!({"type": "text", "specs": {"length": "8"}});
    assert!(mapped(&text, "r", &json!({"area": "input", "address": 1, "type": "string"})).unwrap_err().contains("needs `length`"));
    assert!(mapped(&json!({"type": "struct"}), "r", &json!({"area": "input", "address": 1})).unwrap_err().contains("`struct`"));
    assert!(mapped(&json!({"type": "bool"}), "r", &json!({"area": "input", "address": 1, "scale": 2})).unwrap_err().contains("`scale`"));
}

#[test]
fn a_text_of_64_bits_is_their_digits() {
    let text = |customize: &Json| mapped(&json!({"type": "text", "specs": {"length": "20"}}), "rw", customize);
    for (kind, is_signed) in [("int64", true), ("uint64", false)] {
        let point = text(&json!({"area": "holding", "address": 4, "type": kind, "report": "change"})).unwrap();
        assert_eq!((point.layout.kind, point.length()), (Kind::Digits { is_signed }, 4));
    }
    for (customize, reason) in [
        (json!({"area": "holding", "address": 4, "type": "int32"}), "`text` has the type `string`"),
        (json!({"area": "holding", "address": 4, "type": "int64", "scale": 2}), "`scale` and `offset`"),
        (json!({"area": "holding", "address": 4, "type": "int64", "bits": {"offset": 0}}), "`bits` are of one register"),
        (json!({"area": "holding", "address": 4, "type": "int64", "length": 4}), "`length` counts"),
    ] {
        let said = text(&customize).unwrap_err();
        assert!(said.contains(reason), "{customize}: {said}");
    }
}

#[test]
fn a_date_counts_seconds_or_milliseconds() {
    let date = |customize: &Json| mapped(&json!({"type": "date"}), "rw", customize);
    for (kind, date_in, scale) in
        [("uint32", None, 1_000.0), ("int64", None, 1.0), ("uint64", Some("s"), 1_000.0), ("int64", Some("ms"), 1.0)]
    {
        let point = date(&json!({"area": "holding", "address": 0, "type": kind, "date_in": date_in})).unwrap();
        assert_eq!(point.layout.scale, scale, "{kind} {date_in:?}");
    }
    let usual = date(&json!({"area": "holding", "address": 0})).unwrap();
    assert_eq!((usual.layout.kind, usual.length()), (Kind::Uint32, 2));
    assert_eq!(usual.layout.decode(&[0x5d4a, 0x1280]), Ok(crate::layout::Raw::Number(1_565_135_488_000.0)));
    for (customize, reason) in [
        (json!({"area": "holding", "address": 0, "date_in": "ms"}), "32 bits hold no date"),
        (json!({"area": "holding", "address": 0, "type": "float64"}), "`date` has the type"),
        (json!({"area": "holding", "address": 0, "type": "uint32", "scale": 2}), "`scale` and `offset`"),
        (json!({"area": "holding", "address": 0, "type": "uint64", "date_in": "us"}), "none of s, ms"),
    ] {
        let said = date(&customize).unwrap_err();
        assert!(said.contains(reason), "{customize}: {said}");
    }
    assert!(float(&json!({"area": "holding", "address": 0, "date_in": "s"})).unwrap_err().contains("`date_in` is for"));
}

#[test]
fn an_array_has_the_registers_of_its_items() {
    let array = |size: u16, customize: &Json| {
        mapped(&json!({"type": "array", "specs": {"size": size.to_string(), "item": {"type": "float"}}}), "rw", customize)
    };
    let point = array(3, &json!({"area": "holding", "address": 10, "type": "float32", "scale": 0.1})).unwrap();
    assert_eq!((point.length(), point.layout.items), (6, Some(3)));
    assert_eq!(array(60, &json!({"area": "holding", "address": 0, "type": "float32"})).unwrap().length(), 120);
    for (size, customize, reason) in [
        (61, json!({"area": "holding", "address": 0, "type": "float32"}), "122 registers"),
        (3, json!({"area": "holding", "address": 65_534}), "go beyond 65535"),
        (3, json!({"area": "coil", "address": 0}), "an array is of registers"),
        (3, json!({"area": "holding", "address": 0, "bits": {"offset": 0}}), "an array is of registers"),
        (3, json!({"area": "holding", "address": 0, "type": "string", "length": 3}), "`text` has the type `string`"),
        (3, json!({"area": "holding", "address": 0, "write_function": 6}), "`write_function` 6"),
        (3, json!({"area": "holding", "address": 0, "report": "change", "dead_band": 1}), "`dead_band` is for"),
    ] {
        let said = array(size, &customize).unwrap_err();
        assert!(said.contains(reason), "{customize}: {said}");
    }
}

#[test]
fn one_wrong_property_leaves_the_others() {
    let tsl = json!({"properties": [{"identifier": "a", "accessMode": "r", "dataType": {"type": "int"}}]}).to_string();
    let customize = json!({"area": "input", "address": 1});
    let extension = json!({"properties": [
        {"identifier": "b", "customize": customize}, {"identifier": "a", "customize": customize},
        {"identifier": "a", "customize": customize}, {"customize": customize}, 7
    ]});
    let mapping = read(&tsl, &extension.to_string()).unwrap();
    assert_eq!(mapping.points.len(), 1);
    let problems: Vec<&str> = mapping.problems.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(problems, ["property `b`", "property `a`", "property `properties[3]`", "property `properties[4]`"]);
    assert!(read(&tsl, "{}").unwrap_err().contains("no list `properties`"));
    assert!(read(&tsl, "[").unwrap_err().contains("not JSON"));
}

proptest::proptest! {
    #[test]
    fn any_customize_is_a_mapping_or_is_refused(area in "coil|holding|input|x", address in 0_u32..70_000, kind in "int16|uint64|string|bool", number in "-?[0-9]{0,4}|null|true") {
        let value: Json = serde_json::from_str(&number).unwrap_or(Json::from(number));
        for key in KEYS {
            let mut customize = json!({"area": area, "address": address, "type": kind, "length": 2});
            customize[key] = value.clone();
            if let Ok(point) = float(&customize) {
                assert!(u32::from(point.address) + u32::from(point.length()) <= 65_536);
            }
        }
    }
}

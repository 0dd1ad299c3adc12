use ledge_sdk::serde_json::json;
use ledge_sdk::value::Value;

use super::*;
use crate::mapping;
use crate::write;

/// The mapping of a product whose only service `Dose` takes litres and a mode, which may be missing, and tells what was dosed.
fn dose(service: Json) -> Mapping {
    let parameter = |name: &str, kind: &str| json!({"identifier": name, "dataType": {"type": kind, "specs": {"0": "a", "1": "b"}}});
    let tsl = json!({"services": [
        {"identifier": "set", "inputData": []},
        {"identifier": "Dose", "inputData": [parameter("Litres", "float"), parameter("Mode", "enum")], "outputData": [parameter("Dosed", "int")]},
    ]});
    mapping::read(&tsl.to_string(), &json!({"properties": [], "services": [service]}).to_string()).unwrap()
}

fn holding(address: u16) -> Json {
    json!({"area": "holding", "address": address})
}

/// As it is to be.
fn good() -> Json {
    json!({
        "identifier": "Dose",
        "inputData": [
            {"identifier": "Litres", "customize": {"area": "holding", "address": 4, "type": "float32", "note": "of water"}},
            {"identifier": "Mode", "customize": holding(6)},
            {"customize": {"area": "coil", "address": 9, "value": 1}},
        ],
        "outputData": [{"identifier": "Dosed", "customize": {"area": "input", "address": 2}}],
    })
}

/// The function codes of a call with these arguments.
fn codes(mapping: &Mapping, arguments: Properties) -> Vec<u8> {
    let encode = |at: usize, given: &Given| {
        let words = model::raw(&given.value).and_then(|raw| mapping.points[at].layout.encode(&raw));
        words.map(|words| (at, words)).map_err(|wrong| Fault::new(Fault::PARAM_RANGE_OVERFLOW, wrong))
    };
    let writes = mapping.service("Dose").unwrap().writes(&arguments, encode).unwrap();
    let code = |write: write::Write| match write.what {
        write::What::Request(request) => request.code(),
        other => panic!("{other:?}"),
    };
    write::writes(&mapping.points, writes).into_iter().map(code).collect()
}

#[test]
fn neighbouring_parameters_are_written_together_and_the_coil_that_starts_it_after_them() {
    let mapping = dose(good());
    assert_eq!(mapping.problems, []);
    let arguments = Properties::new().with("Mode", Value::Enumeration(1)).with("Litres", Value::Float(2.5));
    assert_eq!(codes(&mapping, arguments), [16, 5]);
    // One that is not given is not written.
    assert_eq!(codes(&mapping, Properties::new().with("Mode", Value::Enumeration(1))), [6, 5]);
    let service = mapping.service("Dose").unwrap();
    let reads = service.reads();
    assert_eq!((reads.len(), service.output(reads[0])), (1, Some("Dosed")));
    // Nothing of it is polled, and nobody can ask for it as a property.
    assert!(mapping.points.iter().all(|point| !point.is_readable));
    assert_eq!((mapping.find("Litres"), mapping.service("set")), (None, None));
}

#[test]
fn a_service_that_is_wrong_or_in_part_mapped_is_left_out_with_the_reason() {
    let changed = |change: fn(&mut Json)| {
        let mut service = good();
        change(&mut service);
        service
    };
    for (service, reason) in [
        (changed(|service| service["identifier"] = json!("Drain")), "no such service"),
        (changed(|service| service["identifier"] = json!("set")), "no such service"),
        (changed(|service| drop(service["inputData"].as_array_mut().unwrap().remove(1))), "`Mode` is not mapped"),
        (changed(|service| service["outputData"] = json!(null)), "`Dosed` is not mapped"),
        (changed(|service| service["outputData"] = json!({})), "`outputData` is no list"),
        (changed(|service| service["inputData"][1] = service["inputData"][0].clone()), "`Litres` is mapped twice"),
        (changed(|service| service["inputData"][1]["identifier"] = json!("Colour")), "`Colour`: the TSL has no such parameter"),
        (changed(|service| service["inputData"][0]["customize"]["area"] = json!("input")), "a device's inputs cannot"),
        (changed(|service| service["inputData"][0]["customize"]["report"] = json!("change")), "no key `report`"),
        (changed(|service| service["inputData"][2]["customize"] = holding(0)), "`inputData[2]`: it has neither"),
        (changed(|service| service["inputData"][2]["customize"]["value"] = json!(2)), "does not fit"),
        (changed(|service| drop(service["outputData"][0].as_object_mut().unwrap().remove("identifier"))), "has no `identifier`"),
    ] {
        let mapping = dose(service);
        assert_eq!((mapping.services.len(), mapping.points.len()), (0, 0));
        let [(_, said)] = &mapping.problems[..] else { panic!("{:?}", mapping.problems) };
        assert!(said.contains(reason), "`{said}` says nothing of {reason}");
    }
}

//! How deep a model's JSON nests, looked at before anything reads it: a JSON parser gives up in words of its own, and cannot say where.

use super::{Problem, TYPE_DEPTH_MAX};

/// Where JSON text of a model, or of what holds one, nests too deeply, if it does. What else is wrong with the text is not looked at.
///
/// Types that nest only a little too deeply are left to `Tsl::parse`, which tells every one of them.
pub fn too_deep(json: &[u8]) -> Option<Problem> {
    let mut open: Vec<Place> = Vec::new();
    let (mut at, mut last_text) = (0, 0..0);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'{' | b'[' if open.len() == JSON_DEPTH_MAX => return Some(problem(json, &open)),
            b'{' => open.push(Place::Member(0..0)),
            b'[' => open.push(Place::Item(0)),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let end = text_end(json, at);
                last_text = at + 1..end;
                at = end;
            }
            b':' => {
                if let Some(Place::Member(name)) = open.last_mut() {
                    *name = last_text.clone();
                }
            }
            b',' => {
                if let Some(Place::Item(item)) = open.last_mut() {
                    *item += 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// What is being read of an object or a list that is open.
enum Place {
    /// The name's bytes in the text.
    Member(std::ops::Range<usize>),
    Item(usize),
}

/// Where the text that begins at `start` has its closing quote, or the end of all where it has none.
fn text_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn problem(json: &[u8], open: &[Place]) -> Problem {
    let (mut path, mut types) = (String::new(), 0);
    for (depth, place) in open.iter().enumerate() {
        match place {
            Place::Item(item) => path.push_str(&format!("[{item}]")),
            Place::Member(name) => {
                let name = &json[name.clone()];
                path.push_str(if depth == 0 { "" } else { "." });
                path.push_str(&String::from_utf8_lossy(name));
                types += usize::from(TYPE_MEMBERS.contains(&name));
            }
        }
        if types > TYPE_DEPTH_MAX {
            return Problem { path, reason: format!("nests deeper than {TYPE_DEPTH_MAX} types") };
        }
    }
    // No model needs that, but one may carry it in a member that nobody reads.
    let shown: String = path.chars().take(PATH_CHARS_MAX).collect();
    Problem { path: format!("{shown}…"), reason: format!("nests deeper than {JSON_DEPTH_MAX} lists and objects") }
}

/// Lists and objects within one another: some 30 make all types that a model may have, and serde_json takes 127, those around the model
/// included.
const JSON_DEPTH_MAX: usize = 100;
/// The members whose values are types.
const TYPE_MEMBERS: [&[u8]; 2] = [b"dataType", b"item"];
/// What is shown of a path that goes on and on.
const PATH_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize, open: &str, close: &str, inner: &str) -> String {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    }

    fn told(json: &str) -> Option<String> {
        too_deep(json.as_bytes()).map(|problem| problem.to_string())
    }

    #[test]
    fn the_place_is_that_of_the_first_type_too_many() {
        let arrays = nested(200, r#"{"type": "array", "specs": {"size": "3", "item": "#, "}}", r#"{"type": "bool"}"#);
        let model =
            format!(r#"{{"events": [], "properties": [{{"identifier": "a, [\"]"}}, {{"identifier": "p", "dataType": {arrays}}}]}}"#);
        let path = format!("properties[1].dataType{}", ".specs.item".repeat(8));
        assert_eq!(told(&model), Some(format!("{path}: nests deeper than 8 types")));
        assert_eq!(told(&format!(r#"{{"name": "x", "tsl": {model}}}"#)), Some(format!("tsl.{path}: nests deeper than 8 types")));

        let structs = nested(50, r#"{"type": "struct", "specs": [{"identifier": "f", "dataType": "#, "}]}", r#"{"type": "bool"}"#);
        let model = format!(r#"{{"services": [{{"identifier": "s", "inputData": [{{"identifier": "i", "dataType": {structs}}}]}}]}}"#);
        let path = format!("services[0].inputData[0].dataType{}", ".specs[0].dataType".repeat(8));
        assert_eq!(told(&model), Some(format!("{path}: nests deeper than 8 types")));
    }

    #[test]
    fn what_is_no_type_may_nest_as_deep_as_json_is_read() {
        let model = |levels| format!(r#"{{"extra": {}}}"#, nested(levels, r#"{"a": ["#, "]}", "1"));
        assert_eq!(told(&model(49)), None);
        assert!(serde_json::from_str::<serde_json::Value>(&format!("[{}]", model(49))).is_ok());
        let found = told(&model(50)).unwrap();
        assert!(found.starts_with("extra.a[0].a[0].a[0]") && found.ends_with("…: nests deeper than 100 lists and objects"), "{found}");
        assert!(told(&"[".repeat(1_000_000)).unwrap().starts_with("[0][0]"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in proptest::collection::vec(proptest::sample::select(br#"{}[]":,\a"#.to_vec()), 0..300)) {
            let opened = bytes.iter().filter(|byte| br"{[".contains(byte)).count();
            let is_told = too_deep(&bytes).is_some();
            proptest::prop_assert!(!is_told || opened > JSON_DEPTH_MAX);
        }
    }
}

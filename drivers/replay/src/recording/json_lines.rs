//! JSON lines: `{"time": ..., "values": {...}}`, and `{"time": ..., "event": "...", "outputs": {...}}`.

use std::io::{self, BufRead, Read};

use ledge_sdk::serde_json::{self, Value as Json};
use ledge_sdk::value::Properties;

use super::{LINE_BYTES_MAX, Line, Next, What};
use crate::time::{self, Unit};

pub struct JsonLines<R> {
    file: R,
    unit: Unit,
    number: u64,
    text: Vec<u8>,
}

impl<R: BufRead> JsonLines<R> {
    pub fn new(file: R, unit: Unit) -> Self {
        Self { file, unit, number: 0, text: Vec::new() }
    }

    /// Empty lines are passed over.
    pub fn next(&mut self) -> io::Result<Next> {
        loop {
            self.text.clear();
            let read = self.file.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut self.text)?;
            if read == 0 {
                return Ok(Next::End);
            }
            self.number += 1;
            if self.text.last() != Some(&b'\n') && read == LINE_BYTES_MAX {
                self.skip_line()?;
                return Ok(Next::Bad(self.number, format!("is longer than {LINE_BYTES_MAX} bytes")));
            }
            let text = self.text.trim_ascii();
            let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
            if !text.is_empty() {
                return Ok(match parse(text, self.unit) {
                    Ok((time_ms, what)) => Next::Line(Line { number: self.number, time_ms, what }),
                    Err(why) => Next::Bad(self.number, why),
                });
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.file.fill_buf()?;
            let Some(end) = buffer.iter().position(|b| *b == b'\n') else {
                let length = buffer.len();
                self.file.consume(length);
                if length == 0 {
                    return Ok(());
                }
                continue;
            };
            self.file.consume(end + 1);
            return Ok(());
        }
    }
}

fn parse(text: &[u8], unit: Unit) -> Result<(f64, What), String> {
    let json: Json = serde_json::from_slice(text).map_err(|error| format!("is no JSON: {error}"))?;
    let members = json.as_object().ok_or("is no JSON object")?;
    if let Some(unknown) = members.keys().find(|key| !["time", "values", "event", "outputs"].contains(&key.as_str())) {
        return Err(format!("has the member `{}`; expected `time` and `values`, or `time`, `event` and `outputs`", unknown.escape_debug()));
    }
    let time_ms = match members.get("time") {
        Some(Json::String(text)) => time::parse(text, unit).map_err(|error| error.to_string()),
        Some(Json::Number(number)) => {
            number.as_f64().and_then(|number| time::from_number(number, unit)).ok_or_else(|| "has a `time` that is too large".to_owned())
        }
        Some(_) => Err("has a `time` that is neither a number nor a text".to_owned()),
        None => Err("has no `time`".to_owned()),
    }?;
    let what = match (members.get("values"), members.get("event"), members.get("outputs")) {
        (Some(Json::Object(values)), None, None) => What::Values(Properties::from_json(values)),
        (Some(_), None, None) => return Err("has `values` that are no object".to_owned()),
        (None, Some(Json::String(event)), None) => What::Event(event.clone(), Properties::new()),
        (None, Some(Json::String(event)), Some(Json::Object(outputs))) => What::Event(event.clone(), Properties::from_json(outputs)),
        (None, Some(Json::String(_)), Some(_)) => return Err("has `outputs` that are no object".to_owned()),
        (None, Some(_), _) => return Err("has an `event` that is no text".to_owned()),
        (Some(_), ..) => return Err("has both `values` and an event".to_owned()),
        (None, None, _) => return Err("has neither `values` nor an `event`".to_owned()),
    };
    Ok((time_ms, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Next> {
        let mut lines = JsonLines::new(std::io::BufReader::with_capacity(5, text), Unit::Guessed);
        std::iter::from_fn(|| Some(lines.next().unwrap()).filter(|next| *next != Next::End)).collect()
    }

    fn line(number: u64, time_ms: f64, what: What) -> Next {
        Next::Line(Line { number, time_ms, what })
    }

    #[test]
    fn values_and_events_are_read_and_null_is_no_value() {
        let text = br#"{"time": 1, "values": {"A": 1.5, "B": null, "C": "x"}}

{"time": "1970-01-01T00:00:02Z", "event": "alarm", "outputs": {"level": 3}}
{"event": "bell", "time": 3}"#;
        let values = Properties::new().with("A", 1.5).with("C", "x");
        let wanted = [
            line(1, 1_000.0, What::Values(values)),
            line(3, 2_000.0, What::Event("alarm".into(), [("level", 3)].into())),
            line(4, 3_000.0, What::Event("bell".into(), Properties::new())),
        ];
        assert_eq!(all(text), wanted);
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let cases = [
            ("{", "is no JSON"),
            ("[]", "no JSON object"),
            (r#"{"values": {}}"#, "has no `time`"),
            (r#"{"time": "soon", "values": {}}"#, "`soon` is no time"),
            (r#"{"time": [], "values": {}}"#, "neither a number nor a text"),
            (r#"{"time": 1}"#, "neither `values` nor an `event`"),
            (r#"{"time": 1, "values": 1}"#, "no object"),
            (r#"{"time": 1, "event": 1}"#, "no text"),
            (r#"{"time": 1, "event": "a", "outputs": 1}"#, "`outputs` that are no object"),
            (r#"{"time": 1, "event": "a", "values": {}}"#, "both"),
            (r#"{"time": 1, "valeus": {}}"#, "`valeus`"),
        ];
        let mut text: Vec<u8> = cases.iter().flat_map(|(line, _)| [line.as_bytes(), b"\n"].concat()).collect();
        text.extend(b"\xff\n{\"time\": 1, \"values\": {}}\n");
        let found = all(&text);
        for (at, (line, wanted)) in cases.iter().enumerate() {
            let Next::Bad(number, why) = &found[at] else { panic!("{line} was taken: {:?}", found[at]) };
            assert!(*number == at as u64 + 1 && why.contains(wanted), "{line}: {why}");
        }
        assert!(matches!(found[cases.len()], Next::Bad(..)));
        assert_eq!(found[cases.len() + 1], line(13, 1_000.0, What::Values(Properties::new())));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_being_kept() {
        let text = format!("{}\n{{\"time\": 1, \"values\": {{}}}}\n", "x".repeat(3 * LINE_BYTES_MAX));
        let found = all(text.as_bytes());
        assert!(matches!(&found[..], [Next::Bad(1, why), Next::Line(Line { number: 2, .. })] if why.contains("longer than")), "{found:?}");
    }
}

//! `[products.KEY]`: products and their TSL files.

use std::path::Path;

use serde::de::IgnoredAny;

use super::error::ManifestError;
use super::place::{Lines, shown};
use super::read_text;
use super::reader::{Entry, Report, Value};
use crate::limit::{HISTORY_BYTES, HISTORY_BYTES_USUAL};
use crate::name::check_thing;
use crate::set::Product;
use crate::thing::tsl::{Problem, TSL_BYTES_MAX, Tsl, TslError};

pub fn read(entry: &Entry<'_>) -> Option<Product> {
    let key = check_thing(entry.key).map_err(|err| entry.error(err));
    let table = entry.value.table(&["name", "tsl", "tsl_ext", "history_bytes"])?;
    let name = table.optional("name").map_or_else(|| Some(entry.key.to_owned()), |name| name.title());
    let tsl = table.required("tsl").and_then(|file| {
        let text = json_file(&file, TSL_BYTES_MAX)?;
        let tsl = check_tsl(&file, entry.key, &text);
        Some((text, tsl))
    });
    let tsl_ext = table.optional("tsl_ext").map(|file| {
        let text = json_file(&file, TSL_BYTES_MAX)?;
        let problems = tsl.as_ref().and_then(|(_, tsl)| tsl.as_ref()?.check_ext(&text).err());
        for problem in problems.into_iter().flat_map(|TslError(problems)| problems) {
            file.error(format_args!("the ext info is wrong{}", place(&problem)));
        }
        Some(text)
    });
    let history_bytes = table.optional("history_bytes").map_or(Some(HISTORY_BYTES_USUAL), |value| value.integer(HISTORY_BYTES));
    key.ok()?;
    Some(Product { key: entry.key.to_owned(), name: name?, tsl: tsl?.0, tsl_ext: tsl_ext.flatten(), history_bytes: history_bytes? })
}

/// The text of the JSON file that `value` names.
pub(super) fn json_file(value: &Value<'_>, bytes_max: usize) -> Option<String> {
    let file = value.dir().join(value.text()?);
    let unreadable = |err| value.error(format_args!("`{}` cannot be read: {err}", shown(&file).display()));
    let text = read_text(&file, bytes_max).map_err(unreadable).ok()?;
    // Some editors put a byte order mark before JSON, which no JSON parser takes.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    check_json(value.report(), &file, text).then(|| text.to_owned())
}

/// What is wrong with the model itself, as far as the text is JSON. It is noted at the line that names the file.
fn check_tsl(value: &Value<'_>, key: &str, text: &str) -> Option<Tsl> {
    match Tsl::parse(text) {
        Err(TslError(problems)) => {
            for problem in problems {
                value.error(format_args!("the TSL is wrong{}", place(&problem)));
            }
            None
        }
        Ok(tsl) => {
            if let Some(own) = tsl.product_key().filter(|own| *own != key) {
                value.error(format_args!("the TSL says `profile.productKey` is `{own}`; expected `{key}`, or none"));
            }
            Some(tsl)
        }
    }
}

/// Where the problem is, which may be the whole, and what it is.
fn place(problem: &Problem) -> String {
    let Problem { path, reason } = problem;
    if path.is_empty() { format!(": {reason}") } else { format!(" at {path}: {reason}") }
}

/// The TSL's own file is the one to open, so the mistake is noted there.
fn check_json(report: &Report<'_>, file: &Path, text: &str) -> bool {
    let Err(err) = serde_json::from_str::<IgnoredAny>(text) else { return true };
    // serde_json's column counts bytes, and is 0 at the end of a line.
    let lines = Lines::of(text);
    let (line, column) = lines.line_and_column(lines.start(err.line()) + err.column().saturating_sub(1));
    let reason = err.to_string();
    let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
    report.elsewhere(ManifestError { file: shown(file), line, column, message: format!("not valid JSON: {reason}") });
    false
}

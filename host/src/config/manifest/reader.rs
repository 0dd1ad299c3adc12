//! Takes values out of a TOML document and notes whatever is wrong with them, each with its place.
//!
//! Not serde: what is derived stops at the first mistake. A reading function here answers None where it has noted one.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::one_of;
use super::place::{Lines, shown};
use super::{ManifestError, ManifestErrors, TITLE_CHARS_MAX};

/// The mistakes found so far.
pub struct Report<'a> {
    pub dir: &'a Path,
    file: PathBuf,
    lines: Lines<'a>,
    errors: RefCell<Vec<ManifestError>>,
}

/// A value and its way from the document's root, as in `functions."EdgeFC/x".limits.handles`.
#[derive(Clone)]
pub struct Value<'a> {
    report: &'a Report<'a>,
    path: String,
    offset: usize,
    value: Content<'a>,
}

/// A table of which only known keys are read.
pub struct Table<'a> {
    at: Value<'a>,
    entries: &'a DeTable<'a>,
}

/// A key that the author chose, such as a product's.
pub struct Entry<'a> {
    pub key: &'a str,
    pub value: Value<'a>,
    key_offset: usize,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Root(&'a DeTable<'a>),
    Inner(&'a DeValue<'a>),
}

pub fn root<'a>(report: &'a Report<'a>, document: &'a DeTable<'a>) -> Value<'a> {
    Value { report, path: String::new(), offset: 0, value: Content::Root(document) }
}

impl<'a> Report<'a> {
    pub fn new(dir: &'a Path, file: &Path, text: &'a str) -> Self {
        Self { dir, file: shown(file), lines: Lines::of(text), errors: RefCell::default() }
    }

    /// Notes a mistake of the TOML itself, one a line: the others of a line mostly follow from the first.
    pub fn syntax(&self, offset: usize, message: &str) {
        let line = self.lines.line(offset);
        if self.errors.borrow().iter().all(|error| error.line != line) {
            self.note(offset, format!("not valid TOML: {}", message.replace('\n', "; ")));
        }
    }

    /// Notes a mistake in another file.
    pub fn elsewhere(&self, error: ManifestError) {
        self.errors.borrow_mut().push(error);
    }

    /// Gives back what was noted, this file's first, in the order of the lines.
    pub fn finish(&self) -> Result<(), ManifestErrors> {
        let mut errors = self.errors.take();
        if errors.is_empty() {
            return Ok(());
        }
        let key = |error: &ManifestError| (error.file != self.file, error.file.clone(), error.line, error.column);
        errors.sort_by_key(key);
        // One broken file that is named twice is one mistake.
        errors.dedup();
        Err(ManifestErrors(errors))
    }

    fn note(&self, offset: usize, message: String) {
        let (line, column) = self.lines.line_and_column(offset);
        self.elsewhere(ManifestError { file: self.file.clone(), line, column, message });
    }
}

impl<'a> Value<'a> {
    /// The project's directory.
    pub fn dir(&self) -> &'a Path {
        self.report.dir
    }

    pub fn report(&self) -> &'a Report<'a> {
        self.report
    }

    pub fn line(&self) -> usize {
        self.report.lines.line(self.offset)
    }

    pub fn error(&self, message: impl Display) {
        self.report.note(self.offset, format!("{}: {message}", self.path));
    }

    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            Content::Inner(DeValue::String(text)) => Some(text),
            _ => self.unexpected("text"),
        }
    }

    /// A text that people read: not empty, not long, one line.
    pub fn title(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() || text.chars().count() > TITLE_CHARS_MAX || text.contains(char::is_control) {
            self.error(format_args!("expected 1 to {TITLE_CHARS_MAX} characters on one line"));
            return None;
        }
        Some(text.to_owned())
    }

    pub fn parsed<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.text()?.parse().map_err(|err| self.error(err)).ok()
    }

    /// A text that `check` accepts.
    pub fn checked<E: Display>(&self, check: impl FnOnce(&str) -> Result<(), E>) -> Option<&'a str> {
        let text = self.text()?;
        check(text).map_err(|err| self.error(err)).ok()?;
        Some(text)
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.value {
            Content::Inner(DeValue::Boolean(boolean)) => Some(*boolean),
            _ => self.unexpected("true or false"),
        }
    }

    pub fn integer<T: TryFrom<i64> + PartialOrd + Display>(&self, range: RangeInclusive<T>) -> Option<T> {
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        let Content::Inner(DeValue::Integer(digits)) = self.value else { return self.unexpected(&expected()) };
        let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok().and_then(|number| T::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.error(format_args!("{digits} is out of range; expected {}", expected()));
        }
        number
    }

    pub fn array(&self) -> Option<Vec<Value<'a>>> {
        let Content::Inner(DeValue::Array(items)) = self.value else { return self.unexpected("an array") };
        Some(items.iter().enumerate().map(|(at, item)| self.inner(format!("{}[{at}]", self.path), item)).collect())
    }

    /// A table of these keys; every other key is a mistake.
    pub fn table(&self, known: &[&'static str]) -> Option<Table<'a>> {
        let entries = self.raw_table()?;
        for entry in self.sorted(entries).into_iter().filter(|entry| !known.contains(&entry.key)) {
            entry.error(format_args!("unknown key; {}", one_of(entry.key, known.iter().copied())));
        }
        Some(Table { at: self.clone(), entries })
    }

    /// A table whose keys the author chooses, in the order of the file.
    pub fn entries(&self) -> Option<Vec<Entry<'a>>> {
        Some(self.sorted(self.raw_table()?))
    }

    /// The value as the TOML crate gives it. The document itself is none.
    pub fn raw(&self) -> Option<&'a DeValue<'a>> {
        match self.value {
            Content::Inner(value) => Some(value),
            Content::Root(_) => None,
        }
    }

    fn raw_table(&self) -> Option<&'a DeTable<'a>> {
        match self.value {
            Content::Root(entries) | Content::Inner(DeValue::Table(entries)) => Some(entries),
            _ => self.unexpected("a table"),
        }
    }

    fn sorted(&self, entries: &'a DeTable<'a>) -> Vec<Entry<'a>> {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<_>)| self.entry(key, value);
        let mut list: Vec<Entry<'a>> = entries.iter().map(entry).collect();
        list.sort_by_key(|entry| entry.key_offset);
        list
    }

    fn entry(&self, key: &'a Spanned<toml::de::DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.path, quoted(key.get_ref()));
        Entry { key: key.get_ref(), value: self.inner(path, value), key_offset: key.span().start }
    }

    fn inner(&self, path: String, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { report: self.report, path, offset: value.span().start, value: Content::Inner(value.get_ref()) }
    }

    fn unexpected<T>(&self, expected: &str) -> Option<T> {
        let found = match self.value {
            Content::Root(_) | Content::Inner(DeValue::Table(_)) => "a table",
            Content::Inner(DeValue::String(_)) => "text",
            Content::Inner(DeValue::Integer(_) | DeValue::Float(_)) => "a number",
            Content::Inner(DeValue::Boolean(_)) => "a boolean",
            Content::Inner(DeValue::Datetime(_)) => "a date",
            Content::Inner(DeValue::Array(_)) => "an array",
        };
        self.error(format_args!("expected {expected}, found {found}"));
        None
    }
}

impl<'a> Table<'a> {
    pub fn optional(&self, key: &'static str) -> Option<Value<'a>> {
        let (key, value) = self.entries.get_key_value(key)?;
        Some(self.at.entry(key, value).value)
    }

    pub fn required(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            self.at.error(format_args!("the key `{key}` is missing"));
        }
        value
    }

    /// The one of these keys that is there.
    pub fn exactly_one(&self, keys: &[&'static str]) -> Option<(&'static str, Value<'a>)> {
        let mut there = keys.iter().filter_map(|&key| Some((key, self.optional(key)?)));
        let quoted = || keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let Some(one) = there.next() else {
            self.at.error(format_args!("one of the keys {} is missing", quoted()));
            return None;
        };
        if there.next().is_some() {
            self.at.error(format_args!("keep only one of the keys {}", quoted()));
            return None;
        }
        Some(one)
    }

    /// The entries of a table whose keys the author chooses; none if it is not there.
    pub fn entries(&self, key: &'static str) -> Vec<Entry<'a>> {
        self.optional(key).and_then(|value| value.entries()).unwrap_or_default()
    }

    /// The keys of such a table, without judging it.
    pub fn keys(&self, key: &str) -> Vec<&'a str> {
        match self.entries.get(key).map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => table.keys().map(|key| key.get_ref().as_ref()).collect(),
            _ => Vec::new(),
        }
    }
}

impl Entry<'_> {
    /// Notes a mistake of the key.
    pub fn error(&self, message: impl Display) {
        self.value.report.note(self.key_offset, format!("{}: {message}", self.value.path));
    }
}

/// A key as TOML would have it.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { format!("{key:?}") }
}

//! Recordings: CSV and JSON lines, read one line after another, however long the file is.

mod csv;
mod json_lines;

use std::io::{self, BufRead};

use ledge_sdk::value::Properties;

use crate::time::Unit;

/// A file that is being read.
pub enum Recording<R> {
    Csv(Box<csv::Csv<R>>),
    JsonLines(json_lines::JsonLines<R>),
}

/// What comes next in a recording.
#[derive(Debug, PartialEq)]
pub enum Next {
    Line(Line),
    /// A line that cannot be played, by its number, and why.
    Bad(u64, String),
    End,
}

#[derive(Debug, PartialEq)]
pub struct Line {
    pub number: u64,
    pub time_ms: f64,
    pub what: What,
}

#[derive(Debug, PartialEq)]
pub enum What {
    /// What is to be reported; nothing, where every cell is empty.
    Values(Properties),
    Event(String, Properties),
}

/// One line, or one record of a CSV file that goes over several. What is longer is skipped.
const LINE_BYTES_MAX: usize = 256 << 10;

impl<R: BufRead> Recording<R> {
    /// Begins to read the file of that name. An error is a sentence about it.
    pub fn open(name: &str, file: R, unit: Unit) -> Result<Self, String> {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        match ending.as_str() {
            "csv" => csv::Csv::open(file, unit).map(Box::new).map(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::JsonLines(json_lines::JsonLines::new(file, unit))),
            _ => Err("its name says not what it is; expected one that ends in .csv, .jsonl or .ndjson".to_owned()),
        }
    }

    pub fn next(&mut self) -> io::Result<Next> {
        match self {
            Self::Csv(csv) => csv.next(),
            Self::JsonLines(lines) => lines.next(),
        }
    }

    /// The properties that the file's head names, if it has one.
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Csv(csv) => csv.columns(),
            Self::JsonLines(_) => &[],
        }
    }

    /// Leaves out a property of the head.
    pub fn leave_out(&mut self, column: &str) {
        if let Self::Csv(csv) = self {
            csv.leave_out(column);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// Bytes from an alphabet, the same in each run.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self, below: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % below as u64) as usize
        }

        fn bytes(&mut self, alphabet: &[u8], length: usize) -> Vec<u8> {
            (0..length).map(|_| alphabet[self.next(alphabet.len())]).collect()
        }
    }

    #[test]
    fn whatever_is_in_a_file_it_is_read_to_its_end_and_its_lines_are_counted() {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for round in 0..3_000 {
            let (name, head, alphabet): (_, &[u8], &[u8]) = match round % 3 {
                0 => ("a.csv", b"time,A\n", b"\",\r\n\n 01x\xff"),
                1 => ("a.csv", b"time,A\n", b"\",\n\n 01x\xff"),
                _ => ("a.jsonl", b"", b"{}[]:,\"timevalues1\n\n \xff"),
            };
            let (length, capacity) = (noise.next(200), noise.next(9) + 1);
            let text = [head, &noise.bytes(alphabet, length)].concat();
            let lines = text.iter().filter(|b| matches!(b, b'\n' | b'\r')).count() as u64 + 1;
            let mut recording = Recording::open(name, BufReader::with_capacity(capacity, &text[..]), Unit::Guessed).unwrap();
            // A lone carriage return ends a record too, and is no line of its own.
            let is_plain = !text.contains(&b'\r');
            let mut last = 0;
            loop {
                let number = match recording.next().unwrap() {
                    Next::End => break,
                    Next::Bad(number, _) | Next::Line(Line { number, .. }) => number,
                };
                let is_next = if is_plain { last < number } else { last <= number };
                assert!(is_next && number <= lines, "line {number} after {last} of {lines}: {}", text.escape_ascii());
                last = number;
            }
        }
    }
}

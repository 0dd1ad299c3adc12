//! CSV (RFC 4180): a head `time,PROPERTY,PROPERTY...`, and a record for each moment. An empty cell is no value.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader};
use ledge_sdk::value::Properties;

use super::{LINE_BYTES_MAX, Line, Next, What};
use crate::time::{self, Unit};

pub struct Csv<R> {
    records: Records<R>,
    unit: Unit,
    /// The properties of the head, in the order of their cells.
    columns: Vec<String>,
    left_out: BTreeSet<String>,
}

impl<R: BufRead> Csv<R> {
    pub fn open(file: R, unit: Unit) -> Result<Self, String> {
        let mut records = Records::new(file);
        let head = match records.next().map_err(|error| error.to_string())? {
            Some(Record { cells: Ok(cells), .. }) => cells,
            Some(Record { cells: Err(why), .. }) => return Err(format!("its head {why}")),
            None => return Err("it is empty; expected a head `time,PROPERTY,...`".to_owned()),
        };
        let mut names = head.iter().map(|name| name.trim().trim_start_matches('\u{feff}').trim_matches('"').to_owned());
        if names.next().as_deref() != Some("time") {
            return Err(format!("its head begins with `{}`; expected `time,PROPERTY,...`", head[0].escape_debug()));
        }
        let columns: Vec<String> = names.collect();
        let mut seen = BTreeSet::new();
        match columns.iter().find(|name| name.is_empty() || !seen.insert(name.as_str())) {
            Some(name) if name.is_empty() => Err("its head has a column without a name".to_owned()),
            Some(twice) => Err(format!("its head has the column `{twice}` twice")),
            None if columns.is_empty() => Err("its head has no property; expected `time,PROPERTY,...`".to_owned()),
            None => Ok(Self { records, unit, columns, left_out: BTreeSet::new() }),
        }
    }

    pub fn next(&mut self) -> io::Result<Next> {
        let Some(Record { line, cells }) = self.records.next()? else { return Ok(Next::End) };
        Ok(match cells.and_then(|cells| self.line(&cells)) {
            Ok((time_ms, values)) => Next::Line(Line { number: line, time_ms, what: What::Values(values) }),
            Err(why) => Next::Bad(line, why),
        })
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    pub fn leave_out(&mut self, column: &str) {
        self.left_out.insert(column.to_owned());
    }

    fn line(&self, cells: &[String]) -> Result<(f64, Properties), String> {
        if cells.len() != self.columns.len() + 1 {
            return Err(format!("has {} cells, and the head has {}", cells.len(), self.columns.len() + 1));
        }
        let time_ms = time::parse(&cells[0], self.unit).map_err(|error| error.to_string())?;
        let named = self.columns.iter().zip(&cells[1..]).map(|(name, cell)| (name.as_str(), cell.trim()));
        let values = named.filter(|(name, cell)| !cell.is_empty() && !self.left_out.contains(*name));
        Ok((time_ms, values.collect()))
    }
}

/// The records of a file, each with the number of its first line.
struct Records<R> {
    file: R,
    reader: Reader,
    /// That were read.
    newlines: u64,
    text: Vec<u8>,
    ends: Vec<usize>,
}

struct Record {
    line: u64,
    /// Or what is wrong with it, after a subject.
    cells: Result<Vec<String>, String>,
}

/// Room for a record, which is doubled where it is not enough.
const TEXT_BYTES: usize = 4 << 10;
/// The time, and as many properties as a product may have.
const CELLS_MAX: usize = 16_385;

impl<R: BufRead> Records<R> {
    fn new(file: R) -> Self {
        Self { file, reader: Reader::new(), newlines: 0, text: vec![0; TEXT_BYTES], ends: vec![0; CELLS_MAX] }
    }

    /// `None` at the end. Empty lines are none.
    fn next(&mut self) -> io::Result<Option<Record>> {
        self.pass_line_ends()?;
        let line = self.newlines + 1;
        let (mut text_at, mut ends_at) = (0, 0);
        let mut wrong = None;
        loop {
            let input = self.file.fill_buf()?;
            let (result, read, written, ended) = self.reader.read_record(input, &mut self.text[text_at..], &mut self.ends[ends_at..]);
            self.newlines += newlines(&input[..read]);
            self.file.consume(read);
            (text_at, ends_at) = (text_at + written, ends_at + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() < LINE_BYTES_MAX => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputFull => {
                    wrong = Some(format!("is longer than {LINE_BYTES_MAX} bytes; is a quote not closed?"));
                    // The rest of it goes nowhere.
                    text_at = 0;
                }
                ReadRecordResult::OutputEndsFull => {
                    wrong = Some(format!("has more than {CELLS_MAX} cells"));
                    ends_at = 0;
                }
                ReadRecordResult::Record => {
                    let cells = wrong.map_or_else(|| cells(&self.text[..text_at], &self.ends[..ends_at]), Err);
                    return Ok(Some(Record { line, cells }));
                }
                ReadRecordResult::End => return Ok(wrong.map(|why| Record { line, cells: Err(why) })),
            }
        }
    }

    /// To the first byte of a record, whose line is the record's.
    fn pass_line_ends(&mut self) -> io::Result<()> {
        loop {
            let input = self.file.fill_buf()?;
            let ends = input.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            self.newlines += newlines(&input[..ends]);
            let is_all = ends > 0 && ends == input.len();
            self.file.consume(ends);
            if !is_all {
                return Ok(());
            }
        }
    }
}

fn newlines(text: &[u8]) -> u64 {
    text.iter().filter(|b| **b == b'\n').count() as u64
}

fn cells(text: &[u8], ends: &[usize]) -> Result<Vec<String>, String> {
    let starts = std::iter::once(&0).chain(ends);
    let cell = |(start, end): (&usize, &usize)| String::from_utf8(text[*start..*end].to_vec()).map_err(|_| "is no UTF-8".to_owned());
    starts.zip(ends).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use ledge_sdk::value::Value;

    use super::*;

    /// Read in small pieces, so that records go over their ends.
    fn all(text: &[u8]) -> Result<Vec<Next>, String> {
        let mut csv = Csv::open(BufReader::with_capacity(7, text), Unit::Guessed)?;
        let mut found = Vec::new();
        loop {
            match csv.next().unwrap() {
                Next::End => return Ok(found),
                next => found.push(next),
            }
        }
    }

    fn line(number: u64, time_ms: f64, values: &[(&str, &str)]) -> Next {
        Next::Line(Line { number, time_ms, what: What::Values(values.iter().copied().collect()) })
    }

    #[test]
    fn cells_are_named_by_the_head_and_empty_ones_are_no_values() {
        let text = "time, A ,B\r\n1,10,\r\n\r\n2,,\"x, \"\"y\"\"\nz\"\n\n\n3,30,q";
        let wanted =
            [line(2, 1_000.0, &[("A", "10")]), line(4, 2_000.0, &[("B", "x, \"y\"\nz")]), line(8, 3_000.0, &[("A", "30"), ("B", "q")])];
        assert_eq!(all(text.as_bytes()).unwrap(), wanted);
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let text = b"time,A\n1,10\nlater,20\n3\n4,1,2\n5,\xff\n6,60\n";
        let found = all(text).unwrap();
        assert_eq!(found[0], line(2, 1_000.0, &[("A", "10")]));
        for (at, number, wanted) in
            [(1, 3, "`later` is no time"), (2, 4, "has 1 cells, and the head has 2"), (3, 5, "has 3 cells"), (4, 6, "no UTF-8")]
        {
            let Next::Bad(line, why) = &found[at] else { panic!("{:?}", found[at]) };
            assert!(*line == number && why.contains(wanted), "{line}: {why}");
        }
        assert_eq!(found[5], line(7, 6_000.0, &[("A", "60")]));
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn a_record_without_an_end_and_one_of_too_many_cells_are_skipped() {
        let long = "x".repeat(2 * LINE_BYTES_MAX);
        let found = all(format!("time,A\n1,\"{long}\"\n2,20\n3{}\n4,40\n", ",1".repeat(3 * CELLS_MAX)).as_bytes()).unwrap();
        assert!(matches!(&found[0], Next::Bad(2, why) if why.contains("longer than")), "{:?}", found[0]);
        assert_eq!(found[1], line(3, 2_000.0, &[("A", "20")]));
        assert!(matches!(&found[2], Next::Bad(4, why) if why.contains(&format!("more than {CELLS_MAX} cells"))), "{:?}", found[2]);
        assert_eq!(found[3], line(5, 4_000.0, &[("A", "40")]));
        let found = all(format!("time,A\n1,\"{long}\n2,20\n").as_bytes()).unwrap();
        assert!(matches!(&found[..], [Next::Bad(2, why)] if why.contains("a quote")), "{}", found.len());
    }

    #[test]
    fn a_long_record_is_read_whole() {
        let long = "x".repeat(LINE_BYTES_MAX - 100);
        let found = all(format!("time,A,B\n1,{long},y\n2,3,4\n").as_bytes()).unwrap();
        assert_eq!(found, [line(2, 1_000.0, &[("A", &long), ("B", "y")]), line(3, 2_000.0, &[("A", "3"), ("B", "4")])]);
    }

    #[test]
    fn a_wrong_head_says_what_is_expected() {
        for (text, wanted) in [
            ("", "it is empty"),
            ("\n\n", "it is empty"),
            ("A,time\n", "begins with `A`"),
            ("time\n", "no property"),
            ("time,A,A\n", "`A` twice"),
            ("time,,A\n", "without a name"),
        ] {
            let error = all(text.as_bytes()).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        assert_eq!(all("\u{feff}time,A\n1,2\n".as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_column_that_is_left_out_has_no_values() {
        let mut csv = Csv::open(&b"time,A,B\n1,2,3\n"[..], Unit::Guessed).unwrap();
        csv.leave_out("A");
        let Next::Line(Line { what: What::Values(values), .. }) = csv.next().unwrap() else { panic!("no line") };
        assert_eq!(values, Properties::from([("B", Value::from("3"))]));
    }
}

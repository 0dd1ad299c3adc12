//! One measured number, what it is held against, and how that is shown.

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Name;
use super::samples::Samples;

pub struct Row {
    pub name: Name,
    /// `None` where there is nothing to measure yet; `note` says why.
    value: Option<f64>,
    unit: &'static str,
    /// What the bare runtime takes for the same, in the same unit and the same run.
    baseline: Option<f64>,
    p99: Option<f64>,
    bar: Option<Bar>,
    /// Whether what else the bar asks for is so.
    is_provided: bool,
    note: String,
}

/// What is good enough.
#[derive(Clone, Copy)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn value(self) -> f64 {
        match self {
            Self::AtMost(value) | Self::AtLeast(value) => value,
        }
    }

    /// A value that is no number holds nothing.
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Row {
    pub fn new(name: Name, value: f64, unit: &'static str) -> Self {
        Self { name, value: Some(value), unit, baseline: None, p99: None, bar: None, is_provided: true, note: String::new() }
    }

    /// The median of many, in microseconds.
    pub fn of_samples(name: Name, samples: &Samples) -> Self {
        Self { p99: Some(samples.percentile(99)), note: format!("median of {}", samples.len()), ..Self::new(name, samples.median(), "us") }
    }

    #[must_use]
    pub fn beside(self, baseline: &Self) -> Self {
        Self { baseline: baseline.value, ..self }
    }

    #[must_use]
    pub fn at_most(self, bar: f64) -> Self {
        Self { bar: Some(Bar::AtMost(bar)), ..self }
    }

    #[must_use]
    pub fn at_least(self, bar: f64) -> Self {
        Self { bar: Some(Bar::AtLeast(bar)), ..self }
    }

    /// At most so much more than the baseline.
    #[must_use]
    pub fn at_most_over_baseline(self, more: f64) -> Self {
        Self { bar: self.baseline.map(|baseline| Bar::AtMost(baseline + more)), ..self }
    }

    /// The bar asks for this too.
    #[must_use]
    pub fn provided(self, is_provided: bool) -> Self {
        Self { is_provided, ..self }
    }

    #[must_use]
    pub fn p99(self, p99: f64) -> Self {
        Self { p99: Some(p99), ..self }
    }

    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.value? / self.baseline?)
    }

    /// `None` where there is no bar.
    pub fn holds(&self) -> Option<bool> {
        self.bar.map(|bar| self.is_provided && self.value.is_some_and(|value| bar.holds(value)))
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &spelling(self.name))?;
        map.serialize_entry("value", &self.value.map(rounded))?;
        map.serialize_entry("unit", self.unit)?;
        map.serialize_entry("baseline", &self.baseline.map(rounded))?;
        map.serialize_entry("ratio", &self.ratio().map(rounded))?;
        map.serialize_entry("bar", &self.bar.map(|bar| rounded(bar.value())))?;
        map.serialize_entry("holds", &self.holds())?;
        map.serialize_entry("p99", &self.p99.map(rounded))?;
        map.serialize_entry("note", &self.note)?;
        map.end()
    }
}

pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "VALUE", "UNIT", "BASELINE", "RATIO", "BAR", "HOLDS", "P99", "NOTE"]);
    let number = |value: Option<f64>| value.map(|value| rounded(value).to_string()).unwrap_or_default();
    for row in rows {
        let holds = row.holds().map(|holds| if holds { "yes" } else { "NO" }).unwrap_or_default();
        let bar = row
            .bar
            .map(|bar| format!("{} {}", if matches!(bar, Bar::AtMost(_)) { "<=" } else { ">=" }, rounded(bar.value())))
            .unwrap_or_default();
        let (value, baseline, ratio, p99) = (number(row.value), number(row.baseline), number(row.ratio()), number(row.p99));
        table.add_row([&spelling(row.name), &value, row.unit, &baseline, &ratio, &bar, holds, &p99, &row.note]);
    }
    for at in [1, 3, 4, 5, 7] {
        table.column_mut(at).expect("the header has so many columns").set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn spelling(name: Name) -> String {
    name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Two decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Row {
        Row::new(Name::BareFresh, 10.0, "us")
    }

    #[test]
    fn a_bar_over_the_baseline_moves_with_the_baseline() {
        let row = |value| Row::new(Name::InvokeFresh, value, "us").beside(&bare()).at_most_over_baseline(10.0);
        assert_eq!((row(20.0).ratio(), row(20.0).holds()), (Some(2.0), Some(true)));
        assert_eq!(row(20.1).holds(), Some(false));
    }

    #[test]
    fn what_could_not_be_measured_does_not_hold_and_what_has_no_bar_holds_nothing() {
        assert_eq!(Row::new(Name::Start, f64::NAN, "ms").at_most(300.0).holds(), Some(false));
        assert_eq!(Row::new(Name::Fair, 0.95, "").at_least(0.9).holds(), Some(true));
        assert_eq!(Row::new(Name::Fair, f64::NAN, "").at_least(0.9).holds(), Some(false));
        assert_eq!(Row::new(Name::Fair, 0.95, "").at_least(0.9).provided(false).holds(), Some(false));
        assert_eq!(bare().holds(), None);
    }

    #[test]
    fn the_json_of_a_row_has_every_member_under_the_name_of_the_row() {
        let row = Row::new(Name::Http32, 1.239, "requests/s").note("32 connections");
        let expected = r#"{"name":"http-32","value":1.24,"unit":"requests/s","baseline":null,"ratio":null,"bar":null,"holds":null,"p99":null,"note":"32 connections"}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), expected);
    }
}

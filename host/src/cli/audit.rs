//! `ledge audit`: reads the files of the audit, on the gateway itself. The gateway may run or not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use super::output::say;
use crate::audit::{self, Findings, Link};
use crate::schedule;
use crate::store;
use crate::telemetry::printable;

#[derive(Subcommand)]
pub enum Command {
    /// Find whatever was changed, deleted, put in or moved in the audit. Ends with 1 if anything was.
    Verify(VerifyArgs),
    /// Print the newest lines. They are not verified.
    Show(ShowArgs),
}

#[derive(Args)]
pub struct VerifyArgs {
    /// The gateway's data directory.
    #[arg(long, default_value = ".ledge", value_name = "DIR")]
    data: PathBuf,
    /// The gateway's key file, if it is not DATA/key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A line that must still be as it was, as an earlier verification printed it. What the gateway itself found before it counts as known.
    #[arg(long, value_name = "NUMBER:SIGNATURE")]
    since: Option<Link>,
}

#[derive(Args)]
pub struct ShowArgs {
    /// So many lines.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    last: u32,
    /// Print the lines as they are: JSON.
    #[arg(long)]
    json: bool,
    /// The gateway's data directory.
    #[arg(long, default_value = ".ledge", value_name = "DIR")]
    data: PathBuf,
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify(args) => verify(&args)?,
        Command::Show(args) => show(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    check_is_there(&args.data)?;
    let key_file = args.key_file.clone().unwrap_or_else(|| args.data.join("key"));
    let found = audit::verify(&args.data, &key_file, args.since)
        .with_context(|| "the audit cannot be verified (a key file elsewhere is named with --key-file)")?;
    if found.is_nothing() {
        bail!("there is no audit in {}, although a gateway has run there: it was deleted", args.data.display());
    }
    if found.is_all_wrong {
        bail!(
            "nothing of the audit in {} was written with the key file {}: name the gateway's own with --key-file, or, if this is it, believe nothing \
             of the audit",
            args.data.display(),
            key_file.display()
        );
    }
    let since = args.since.map_or(0, |since| since.seq);
    let alarms: Vec<_> = found.alarms.iter().filter(|(seq, _)| *seq > since).collect();
    if found.problem_count == 0 && alarms.is_empty() {
        say(format_args!("the audit is whole: {}, as the gateway wrote them", range(&found)))?;
    }
    remarks(&found)?;
    if let Some(last) = found.last.filter(|_| found.problem_count == 0) {
        say(format_args!("newest: {last}"))?;
    }
    if let Some(first) = found.problems.first() {
        for problem in &found.problems[1..] {
            say(format_args!("  also wrong: {problem}"))?;
        }
        let more = found.problem_count - found.problems.len() as u64;
        if more > 0 {
            say(format_args!("  and {more} more"))?;
        }
        bail!("the audit is not as the gateway wrote it: {first}");
    }
    if let Some((seq, what)) = alarms.first() {
        bail!(
            "number {seq} of the audit says that it was changed earlier: {}. The lines that are there now are as the gateway wrote them; once \
             this is known, verify with --since",
            printable(what)
        );
    }
    if let Some((since, first)) = args.since.zip(found.first).filter(|(since, first)| since.seq + 1 < *first) {
        bail!(
            "number {} of the audit is not kept any more: the oldest is {first}. What came between was pushed out by what came later, and nothing can \
             be said about it; verify more often",
            since.seq
        );
    }
    Ok(())
}

fn range(found: &Findings) -> String {
    match (found.first, found.last) {
        (Some(first), Some(last)) => format!("{} lines, the numbers {first} to {}", found.lines, last.seq),
        _ => "no line yet".to_owned(),
    }
}

/// What is no sign of a change, and worth knowing.
fn remarks(found: &Findings) -> std::io::Result<()> {
    for seq in &found.repaired {
        say(format_args!("  number {seq}: the line after the one before it ended in its middle, as after power loss, and was cut off"))?;
    }
    if found.torn_bytes > 0 {
        say(format_args!(
            "  the last {} bytes are no whole line: it is being written now, or the power went; the gateway cuts them off when it starts",
            found.torn_bytes
        ))?;
    }
    if found.after_head > 0 {
        say(format_args!(
            "  the newest {} lines came within a second of now or of a kill: they are right, but had some been cut off, it could not be told",
            found.after_head
        ))?;
    }
    if found.left_out > 0 {
        say(format_args!("  {} lines say how many others were left out, since they came too fast", found.left_out))?;
    }
    Ok(())
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    check_is_there(&args.data)?;
    let lines = audit::last_lines(&args.data, args.last as usize).context("reading the audit")?;
    if args.json {
        for shown in &lines {
            match shown.line {
                Some(_) => say(&shown.text)?,
                None => say(printable(&shown.text))?,
            }
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NUMBER", "TIME", "WHO", "WHAT", "DETAIL"]);
    for shown in &lines {
        table.add_row(match &shown.line {
            Some(line) => {
                [line.seq.to_string(), schedule::iso_ms(line.time), printable(&line.who), printable(&line.what), printable(&line.detail)]
            }
            None => [String::new(), String::new(), String::new(), "(no line of the audit)".to_owned(), printable(&shown.text)],
        });
    }
    Ok(say(table)?)
}

fn check_is_there(data: &Path) -> anyhow::Result<()> {
    if !data.join(store::FILE_NAME).exists() {
        bail!("no gateway has run with the data directory {}: name the gateway's own with --data", data.display());
    }
    Ok(())
}

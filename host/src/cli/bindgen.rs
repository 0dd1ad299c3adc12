//! `ledge bindgen`: a product's properties, events and services as types of a language. What makes the text of them is in `bindgen/`, and
//! touches no file.

mod docs;
mod driver;
mod function;
mod model;
mod names;
mod rust;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::output::say;
use crate::config::manifest::shown;
use crate::name::check_thing;
use crate::thing::tsl::{Tsl, USES_BYTES_MAX};
use model::Model;

#[derive(clap::Args)]
pub struct Args {
    /// The product's TSL, as a JSON file.
    tsl: PathBuf,
    /// The language to write.
    #[arg(long)]
    lang: Language,
    /// The file to write. Standard output if it is not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only these properties, events and services, by their identifiers, as in `--only LightSwitch,turn`.
    #[arg(long, value_name = "IDENTIFIERS", value_delimiter = ',')]
    only: Vec<String>,
    /// Only what functions use of it, or only what drivers do. Both if it is not given, which needs the SDK's feature `driver`.
    #[arg(long = "for", value_name = "KIND")]
    kind: Option<UserKind>,
    /// The product's key, where the TSL does not say it.
    #[arg(long, value_name = "KEY")]
    product: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Rust,
}

/// Who uses the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UserKind {
    Function,
    Driver,
}

/// What of a product is written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// All of it, if it is empty.
    pub only: BTreeSet<String>,
    /// Both, if it is none.
    pub kind: Option<UserKind>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let Language::Rust = args.lang;
    let file = shown(&args.tsl);
    let text = fs::read_to_string(&args.tsl).with_context(|| format!("reading {}", file.display()))?;
    let options = Options { only: args.only.iter().cloned().collect(), kind: args.kind };
    let module = rust_module(&text, args.product.as_deref(), &options).with_context(|| file.display().to_string())?;
    match &args.out {
        Some(out) => {
            write_if_changed(out, &module)?;
            say(format_args!("wrote {}", shown(out).display()))?;
        }
        None => say(module.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that stays as it is makes nobody compile again.
fn write_if_changed(file: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    fs::write(file, text).with_context(|| format!("writing {}", shown(file).display()))
}

/// The module of a TSL. `product` is its key, which the TSL may say itself.
pub fn rust_module(text: &str, product: Option<&str>, options: &Options) -> Result<String> {
    // Some editors put a byte order mark before JSON.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tsl = Tsl::parse(text)?;
    let product = match (tsl.product_key(), product) {
        (Some(own), Some(given)) if own != given => bail!("the TSL says `profile.productKey` is `{own}`, and --product says `{given}`"),
        (own, given) => own.or(given).context("the TSL does not say `profile.productKey`; give the product's key with --product")?,
    };
    check_thing(product).with_context(|| format!("product `{}`", product.escape_debug()))?;
    check_only(&tsl, &options.only)?;
    let model = Model::new(product, &tsl, &serde_json::from_str(text)?, options);
    let uses = serde_json::to_string(&model.uses)?;
    if uses.len() >= USES_BYTES_MAX {
        bail!(
            "it is too much for one component: the list of what is used has {} bytes of {USES_BYTES_MAX}; choose with --only",
            uses.len()
        );
    }
    Ok(rust::module(&model, &uses, options.kind))
}

fn check_only(tsl: &Tsl, only: &BTreeSet<String>) -> Result<()> {
    let is_there =
        |identifier: &&String| tsl.property(identifier).is_some() || tsl.event(identifier).is_some() || tsl.service(identifier).is_some();
    let Some(unknown) = only.iter().find(|identifier| !is_there(identifier)) else { return Ok(()) };
    let properties = tsl.properties().map(|spec| spec.identifier.as_str());
    let events = tsl.events().map(|spec| spec.identifier.as_str());
    let services = tsl.services().map(|spec| spec.identifier.as_str());
    let known: Vec<&str> = properties.chain(events).chain(services).collect();
    bail!("--only: it has no property, event or service `{}`; it has {}", unknown.escape_debug(), known.join(", "))
}

#[cfg(test)]
mod tests;

//! Rust names of what a TSL names, which may be in any script, be keywords of Rust, or differ in nothing that a Rust name can show.

use std::collections::HashSet;

/// The names of one scope: no two are the same.
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// A scope in which some words mean something already.
    pub fn beside<S: Into<String>>(reserved: impl IntoIterator<Item = S>) -> Self {
        Self { taken: reserved.into_iter().map(Into::into).collect() }
    }

    /// The name of a field, an argument or a method.
    pub fn snake(&mut self, text: &str) -> String {
        self.take(words(text).join("_"), "_")
    }

    /// The name of a type or of a variant.
    pub fn camel(&mut self, text: &str) -> String {
        self.take(camel(text), "")
    }

    pub fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    fn take(&mut self, name: String, separator: &str) -> String {
        let first = if is_keyword(&name) { format!("{name}_") } else { name.clone() };
        let numbered = (2..).map(|number: u32| format!("{name}{separator}{number}"));
        let free = std::iter::once(first).chain(numbered).find(|name| !self.taken.contains(name));
        let free = free.expect("fewer names are taken than there are numbers");
        self.taken.insert(free.clone());
        free
    }
}

/// Whether a name of people's becomes a Rust name that they would know again.
pub fn is_plain(text: &str) -> bool {
    text.is_ascii() && text.starts_with(|first: char| first.is_ascii_alphabetic())
}

pub fn camel(text: &str) -> String {
    let capitalised = |word: String| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    words(text).into_iter().map(capitalised).collect()
}

/// The words of `LightSwitch`, `light-switch` and `light.switch` are the same two. There is one at least, and it begins with no digit.
fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().flat_map(spelled).collect();
    let mut words = vec![String::new()];
    for (place, &letter) in letters.iter().enumerate() {
        if !is_letter(letter) {
            words.push(String::new());
            continue;
        }
        let before = place.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(place + 1);
        // In `lightSwitch`, in `HTTPServer` before the `S`.
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before| !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase));
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(letter.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    match words.first_mut() {
        Some(first) if first.starts_with(|letter: char| letter.is_ascii_digit()) => first.insert(0, 'n'),
        Some(_) => {}
        None => words.push("unnamed".to_owned()),
    }
    words
}

/// A letter as it may stand in a Rust name. Those of Chinese are as they are; others by their number, since not all of them may, and some
/// are the same to Rust.
fn spelled(letter: char) -> Vec<char> {
    if letter.is_ascii() || is_letter(letter) { vec![letter] } else { format!("u{:x}", u32::from(letter)).chars().collect() }
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

/// Of every edition, and those that are reserved.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override",
    "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized",
    "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_rust_writes_it() {
        for (text, snake, camel) in [
            ("LightSwitch", "light_switch", "LightSwitch"),
            ("light-switch", "light_switch", "LightSwitch"),
            ("module:Light.switch", "module_light_switch", "ModuleLightSwitch"),
            ("HTTPServer", "http_server", "HttpServer"),
            ("PM25", "pm25", "Pm25"),
            ("cpu_core_number", "cpu_core_number", "CpuCoreNumber"),
            ("2fa", "n2fa", "N2fa"),
            ("type", "type_", "Type"),
            ("self", "self_", "Self_"),
            ("Self", "self_", "Self_"),
            ("灯光", "灯光", "灯光"),
            ("ж", "u436", "U436"),
            ("--", "unnamed", "Unnamed"),
        ] {
            assert_eq!((Names::beside([""]).snake(text).as_str(), Names::beside([""]).camel(text).as_str()), (snake, camel), "{text}");
        }
    }

    #[test]
    fn no_two_names_of_a_scope_are_the_same() {
        let mut names = Names::beside(["get"]);
        let taken = ["a-b", "a.b", "aB", "type", "Type", "type_", "get"].map(|text| names.snake(text));
        assert_eq!(taken, ["a_b", "a_b_2", "a_b_3", "type_", "type_2", "type_3", "get_2"]);
        let mut names = Names::beside(["Option"]);
        assert_eq!(["a-b", "a.b", "Self", "option"].map(|text| names.camel(text)), ["AB", "AB2", "Self_", "Option2"]);
    }
}

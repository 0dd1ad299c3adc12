//! "Did you mean": the known word that is one or two letters away.

/// The nearest of `known`, if a slip of the fingers explains the difference.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        // Two letters of a three-letter word are no slip: at least half of it must be right.
        .filter(|&(slips, _)| slips <= 2 && slips * 2 <= letters)
        .min_by_key(|&(slips, _)| slips)
        .map(|(_, candidate)| candidate)
}

/// A list of words as people read it, with the one that was probably meant.
pub fn one_of<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let quoted: Vec<String> = known.clone().into_iter().map(|name| format!("`{name}`")).collect();
    if let [only] = &quoted[..] {
        return format!("expected {only}");
    }
    let meant = nearest(word, known).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"));
    format!("expected one of {}{meant}", quoted.join(", "))
}

/// Letters to insert, drop, replace or swap with their neighbour. Names of one case and another are the same.
fn distance(left: &str, right: &str) -> usize {
    let [left, right]: [Vec<char>; 2] = [left, right].map(|word| word.to_lowercase().chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &a) in left.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, &b) in right.iter().enumerate() {
            let mut best = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(this[column] + 1);
            if row > 0 && column > 0 && a == right[column - 1] && left[row - 1] == b {
                best = best.min(before_last[column - 1] + 1);
            }
            this.push(best);
        }
        before_last = std::mem::replace(&mut last, this);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_forgiven_and_another_word_is_not() {
        assert_eq!(nearest("tls", ["name", "tsl", "tsl_ext"]), Some("tsl"));
        assert_eq!(nearest("deadline", ["deadline_ms", "handles"]), None);
        assert_eq!(nearest("deadlin_m", ["deadline_ms", "handles"]), Some("deadline_ms"));
        assert_eq!(nearest("Product", ["product"]), Some("product"));
        assert_eq!(nearest("kv", ["json"]), None);
        assert_eq!(one_of("a", ["b"]), "expected `b`");
    }
}

//! Rust text, line by line.

/// Indents what stands between a line that ends with an opening bracket and one that begins with a closing one.
#[derive(Default)]
pub struct Text {
    text: String,
    depth: usize,
}

impl Text {
    pub fn line(&mut self, line: &str) {
        if line.starts_with(['}', ')', ']']) {
            self.depth = self.depth.saturating_sub(1);
        }
        self.put(line);
        if line.ends_with(['{', '(', '[']) {
            self.depth += 1;
        }
    }

    pub fn lines(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| self.line(line));
    }

    pub fn docs<S: AsRef<str>>(&mut self, docs: &[S]) {
        docs.iter().for_each(|line| self.put(format!("/// {}", line.as_ref()).trim_end()));
    }

    /// Begins another item.
    pub fn gap(&mut self) {
        if !self.text.ends_with("{\n") {
            self.text.push('\n');
        }
    }

    pub fn end(self) -> String {
        self.text
    }

    fn put(&mut self, line: &str) {
        if !line.is_empty() {
            self.text.push_str(&"    ".repeat(self.depth));
            self.text.push_str(line);
        }
        self.text.push('\n');
    }
}

//! A configuration document with every key once, one a line, for tests that change it line by line.

/// The document.
#[derive(Debug, Clone, Copy)]
pub struct FullDocument(pub &'static str);

impl FullDocument {
    /// The lines that are keys: which line, from 0, the path of the key, and the key as written.
    #[must_use]
    pub fn keys(&self) -> Vec<(usize, String, &'static str)> {
        let mut table = String::new();
        let mut keys = Vec::new();
        for (at, line) in self.0.lines().enumerate() {
            match line.split_once(" = ") {
                Some((key, _)) => keys.push((at, format!("{table}{}", key.trim_matches('"')), key)),
                None => table = format!("{}.", line.trim_matches(['[', ']'])),
            }
        }
        keys
    }

    /// The document with one of its lines replaced.
    #[must_use]
    pub fn with_line(&self, at: usize, line: &str) -> String {
        let lines = self.0.lines().enumerate().map(|(here, own)| if here == at { line } else { own });
        lines.collect::<Vec<_>>().join("\n")
    }
}

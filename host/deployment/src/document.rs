//! A configuration file in memory: its name and text, so that every error can say file, line and key.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::error::{DeploymentError, Place};
use crate::explain;

/// A TOML file that was read but not yet understood.
#[derive(Debug, Clone)]
pub struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8.
    pub fn read(file: &Path) -> Result<Self, DeploymentError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| DeploymentError::Unreadable { file: file.to_owned(), source })?;
        Ok(Self { file: file.to_owned(), text })
    }

    /// A document from text that is already at hand; `file` is what errors call it.
    #[must_use]
    pub fn from_text(file: &Path, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A path written in this file, which is relative to the file's folder.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or_else(|| Path::new("")).join(path)
    }

    /// Reads the document into a type that denies unknown fields.
    ///
    /// # Errors
    /// When the text is not TOML, has a key that the type does not know, lacks one that it needs,
    /// or holds a value of the wrong kind.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, DeploymentError> {
        let table = DeTable::parse(&self.text).map_err(|error| DeploymentError::Syntax {
            place: Place {
                file: self.file.clone(),
                line: error.span().map(|span| self.line(span.start)),
                key: None,
            },
            problem: error.message().replace('\n', ", "),
        })?;
        T::deserialize(toml::Deserializer::from(table)).map_err(|error| explain::shape(self, &error))
    }

    /// The keys at the top of the file; none if it is not TOML.
    #[must_use]
    pub fn top_keys(&self) -> Vec<String> {
        DeTable::parse(&self.text)
            .map(|table| table.get_ref().keys().map(|key| key.get_ref().to_string()).collect())
            .unwrap_or_default()
    }

    /// Refuses the value (or key) at these bytes of the text.
    #[must_use]
    pub fn refuse(&self, span: Range<usize>, problem: impl Into<String>) -> DeploymentError {
        let key = self.key_at(&span).map(|path| path.join("."));
        let place = Place { file: self.file.clone(), line: Some(self.line(span.start)), key };
        DeploymentError::Refused { place, problem: problem.into(), hint: None }
    }

    /// Refuses the file as a whole.
    #[must_use]
    pub fn refuse_file(&self, problem: impl Into<String>) -> DeploymentError {
        DeploymentError::Refused { place: self.place(), problem: problem.into(), hint: None }
    }

    /// The file as a place, without line or key.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { file: self.file.clone(), line: None, key: None }
    }

    /// Refuses a key that its table may not hold.
    #[must_use]
    pub fn unknown_key(&self, span: Range<usize>, key: &str, known: Vec<String>) -> DeploymentError {
        let mut table = self.key_at(&span).unwrap_or_default();
        table.pop();
        let place = Place {
            file: self.file.clone(),
            line: Some(self.line(span.start)),
            key: (!table.is_empty()).then(|| table.join(".")),
        };
        DeploymentError::UnknownKey { place, key: key.to_owned(), known }
    }

    /// Refuses a table for what it lacks. The whole file has no line worth naming.
    pub(crate) fn refuse_table(&self, span: Range<usize>, problem: String) -> DeploymentError {
        match self.key_at(&span) {
            Some(_) => self.refuse(span, problem),
            None => self.refuse_file(problem),
        }
    }

    /// The line of a byte of the text, from 1.
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// The path of the key or value at these bytes.
    fn key_at(&self, span: &Range<usize>) -> Option<Vec<String>> {
        let table = DeTable::parse(&self.text).ok()?;
        path_at(table.get_ref(), span)
    }
}

/// Looks for the innermost key, value or table that lies at the span. Tables come last: the span of a
/// `[table]` is its header alone, so a table's own span says nothing of what it holds.
fn path_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    for (key, value) in table {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => path_at(inner, span),
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.filter_map(|inner| path_at(inner, span)).next()
            }
            _ => None,
        };
        let here = || within(span, &key.span()) || within(span, &value.span());
        if let Some(rest) = inner.or_else(|| here().then(Vec::new)) {
            return Some(std::iter::once(key.get_ref().to_string()).chain(rest).collect());
        }
    }
    None
}

/// Whether one span lies inside another.
fn within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    !inner.is_empty() && inner.start >= outer.start && inner.end <= outer.end
}

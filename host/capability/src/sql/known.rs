//! Statements that have passed their check, by text: a handler says the same few for each event, and a check reads
//! the whole text.
//!
//! Who owns: the session of one instance. What bounds: [`TEXTS_MAX`] and [`TEXT_BYTES_MAX`]; when there are too many
//! all are forgotten.

use std::collections::HashMap;

use keylane_effects::StatementError;

/// The most texts.
const TEXTS_MAX: usize = 64;
/// A longer text is checked each time, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// What the check has made of them.
pub(crate) struct Known<T> {
    by_text: HashMap<String, (usize, T)>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { by_text: HashMap::new() }
    }
}

impl<T: Clone> Known<T> {
    /// What is known of the text with so many parameters, or what the check says of it now.
    pub(crate) fn or_check(
        &mut self,
        text: &str,
        parameters: usize,
        check: impl FnOnce() -> Result<T, StatementError>,
    ) -> Result<T, StatementError> {
        if let Some((given, known)) = self.by_text.get(text)
            && *given == parameters
        {
            return Ok(known.clone());
        }
        let checked = check()?;
        if text.len() <= TEXT_BYTES_MAX {
            if self.by_text.len() >= TEXTS_MAX {
                self.by_text.clear();
            }
            self.by_text.insert(text.to_owned(), (parameters, checked.clone()));
        }
        Ok(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<u32, StatementError> {
        Err(StatementError::Refused("no".to_owned()))
    }

    #[test]
    fn only_what_passed_with_as_many_parameters_is_known() {
        let mut known = Known::default();
        assert_eq!(known.or_check("a", 1, refused), refused());
        assert_eq!(known.or_check("a", 1, || Ok(1)), Ok(1));
        assert_eq!(known.or_check("a", 1, refused), Ok(1));
        assert_eq!(known.or_check("a", 2, refused), refused(), "the check counts the parameters");
        assert_eq!(known.or_check("b", 1, refused), refused());
    }

    #[test]
    fn it_is_bounded() {
        let mut known = Known::default();
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert_eq!(known.or_check(&long, 0, || Ok(0)), Ok(0));
        assert_eq!(known.or_check(&long, 0, refused), refused());
        for number in 0..1_000 {
            assert_eq!(known.or_check(&number.to_string(), 0, || Ok(number)), Ok(number));
            assert!(known.by_text.len() <= TEXTS_MAX);
        }
    }
}

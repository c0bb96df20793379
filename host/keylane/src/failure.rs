//! What a person sees when something fails: one sentence, a hint if there is one, and the exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use keylane_capability::CapabilityError;
use keylane_deployment::DeploymentError;
use keylane_effects::{DatabaseError, OutboxError};
use keylane_engine::ClaimsError;
use keylane_guest::GuestError;
use keylane_kafka::KafkaError;

use crate::operator::OperatorError;

/// Something the user gave is wrong; changing it is the remedy. The same code that clap uses.
pub(crate) const BAD_INPUT: u8 = 2;

/// Anything else.
const OTHER: u8 = 1;

/// Writes the failure down and gives its exit code.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn report(error: &anyhow::Error, out: &mut impl Write) -> io::Result<ExitCode> {
    writeln!(out, "error: {}", sentence(error))?;
    if let Some(hint) = hint(error) {
        writeln!(out, "hint: {hint}")?;
    }
    Ok(ExitCode::from(if is_bad_input(error) { BAD_INPUT } else { OTHER }))
}

/// The error and its causes, outermost first. A cause that an outer one has quoted is not said again.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.is_empty() {
        true => cause,
        false if said.ends_with(&cause) => said,
        false => format!("{said}: {cause}"),
    })
}

/// Whether a person has to change a file, a component or an argument before this can work.
fn is_bad_input(error: &anyhow::Error) -> bool {
    error.chain().any(|cause: &(dyn Error + 'static)| {
        let of_a_component =
            |error: &GuestError| !error.can_retry() && !matches!(error, GuestError::Engine { .. });
        cause.is::<DeploymentError>()
            || cause.downcast_ref::<GuestError>().is_some_and(of_a_component)
            || cause.downcast_ref::<CapabilityError>().is_some_and(|error| !error.can_retry())
            || cause.downcast_ref::<DatabaseError>().is_some_and(|error| !error.can_retry())
            || cause.is::<ClaimsError>()
            || cause
                .downcast_ref::<OutboxError>()
                .is_some_and(|error| matches!(error, OutboxError::OtherFleet { .. }))
            || cause.downcast_ref::<KafkaError>().is_some_and(|error| !error.can_retry())
            || cause.downcast_ref::<OperatorError>().is_some_and(|error| error.bad_input)
    })
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let of_a_file = cause.downcast_ref::<DeploymentError>().and_then(DeploymentError::hint);
        of_a_file.or_else(|| cause.downcast_ref::<OperatorError>().and_then(|error| error.hint.clone()))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context as _;
    use keylane_deployment::{Document, Manifest};

    use super::*;

    fn reported(error: &anyhow::Error) -> (String, ExitCode) {
        let mut out = Vec::new();
        let code = report(error, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn a_wrong_file_is_bad_input_wherever_it_is_in_the_chain() {
        let document = Document::from_text(Path::new("handler.toml"), "nmae = 1");
        let error = Manifest::from_document(&document).unwrap_err();
        let (text, code) = reported(&anyhow::Error::new(error).context("the host cannot start"));
        assert_eq!(
            text,
            "error: the host cannot start: handler.toml, line 1: unknown key `nmae`\nhint: did you mean `name`?\n"
        );
        assert_eq!(code, ExitCode::from(2));
    }

    #[test]
    fn other_failures_are_not_the_users_fault() {
        let (text, code) = reported(&anyhow::anyhow!("the disk is full"));
        assert_eq!(text, "error: the disk is full\n");
        assert_eq!(code, ExitCode::from(1));
    }

    #[test]
    fn what_was_quoted_is_not_repeated() {
        let chain =
            Err::<(), _>(anyhow::anyhow!("no route")).context("cannot connect: no route").unwrap_err();
        assert_eq!(sentence(&chain), "cannot connect: no route");
    }
}

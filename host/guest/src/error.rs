//! What can go wrong before a revision runs. Each message names the file and says what to do.

use std::path::PathBuf;

use keylane_capability::CapabilityError;

/// A component could not be made ready to run.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The engine could not be set up, most often because address space or a kernel feature is missing.
    #[error("the WebAssembly engine could not be started: {reason}. {ENGINE_ADVICE}")]
    Engine {
        /// What the engine said.
        reason: String,
    },

    /// There is no file where the manifest names the component.
    #[error("{}: no such file. Build the component, or correct `component` in the manifest", file.display())]
    Missing {
        /// The component's file.
        file: PathBuf,
    },

    /// The file is there and cannot be read.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The component's file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },

    /// The file is larger than the host accepts.
    #[error(
        "{}: larger than the limit of {limit_bytes} bytes for a component. \
         Build it optimised and stripped of debug information", file.display()
    )]
    TooLarge {
        /// The component's file.
        file: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },

    /// The file is something else than a component.
    #[error("{}: not a WebAssembly component: {found}", file.display())]
    NotAComponent {
        /// The component's file.
        file: PathBuf,
        /// What it is instead, and what to do.
        found: String,
    },

    /// The component does not export what a handler must.
    #[error(
        "{}: a component, but not a handler: {found}. \
         A handler is built for the world `keylane:handler/handler`", file.display()
    )]
    WrongWorld {
        /// The component's file.
        file: PathBuf,
        /// What it exports instead.
        found: String,
    },

    /// The component asks for something that its manifest does not grant or this host does not have.
    #[error("{}: {refusal}", file.display())]
    Import {
        /// The component's file.
        file: PathBuf,
        /// Which import, and what to do.
        refusal: CapabilityError,
    },

    /// A granted capability could not be prepared.
    #[error(transparent)]
    Prepare(#[from] CapabilityError),

    /// What the component imports has the name of something the host offers, but another shape.
    #[error("{}: does not fit this host: {reason}. Build it against this host's `wit/`", file.display())]
    Link {
        /// The component's file.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },

    /// The component is fine in itself, but a first instance of it could not be made.
    #[error("{}: cannot be started: {reason}. Look at `[limits]` in the manifest", file.display())]
    FirstInstance {
        /// The component's file.
        file: PathBuf,
        /// What happened.
        reason: String,
    },
}

const ENGINE_ADVICE: &str = "Its pool reserves address space: lower `concurrency` or `memory` in the manifests, \
                             or lift the process's limit on virtual memory";

impl GuestError {
    /// Whether the same start may succeed later without a change to files.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Prepare(error) => error.can_retry(),
            _ => false,
        }
    }
}

//! A component's file: read within a limit, told apart from what else ends in `.wasm`, and compiled.

use std::io::Read as _;
use std::path::Path;

use keylane_capability::bindings::Failure;
use keylane_capability::bindings::keylane::handler::types::Event;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::error::GuestError;

/// The largest component that is accepted. The interpreters of scripting languages fit.
pub const COMPONENT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The export that makes a component a handler.
const HANDLE: &str = "handle";

/// Hexadecimal digits of a digest that tell revisions apart in logs.
const REVISION_DIGITS: usize = 12;

/// A compiled component and the digest it is known by.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) revision: String,
}

/// Reads and compiles. Blocks for as long as compiling takes: not for a thread of the async runtime.
pub(crate) fn compile(engine: &Engine, file: &Path) -> Result<Compiled, GuestError> {
    let bytes = read(file)?;
    let not_a_component = |found: String| GuestError::NotAComponent { file: file.to_owned(), found };
    check_layer(&bytes).map_err(|found| not_a_component(found.to_owned()))?;
    let component = Component::new(engine, &bytes)
        .map_err(|error| not_a_component(format!("it is damaged or uses what this host lacks: {error:#}")))?;
    check_world(engine, &component)
        .map_err(|found| GuestError::WrongWorld { file: file.to_owned(), found })?;
    Ok(Compiled { component, revision: digest(&bytes) })
}

fn read(file: &Path) -> Result<Vec<u8>, GuestError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => GuestError::Missing { file: file.to_owned() },
        _ => GuestError::Unreadable { file: file.to_owned(), reason: error.to_string() },
    };
    let mut bytes = Vec::new();
    let source = std::fs::File::open(file).map_err(unreadable)?;
    source.take(COMPONENT_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= COMPONENT_BYTES_MAX) {
        return Ok(bytes);
    }
    Err(GuestError::TooLarge { file: file.to_owned(), limit_bytes: COMPONENT_BYTES_MAX })
}

/// A binary starts with a magic number, a version and a layer: 0 is a core module, 1 a component.
fn check_layer(bytes: &[u8]) -> Result<(), &'static str> {
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err("it is a core module. Build it for \
             wasm32-wasip2, or wrap it with `wasm-tools component new`"),
        [b'\0', b'a', b's', b'm', ..] => Err("its WebAssembly version is unknown to this host"),
        [] => Err("it is empty"),
        _ => Err("it is no WebAssembly at all; a component is a binary file that starts with \\0asm"),
    }
}

/// Whether the component exports `handle` with the type of the world `handler`.
fn check_world(engine: &Engine, component: &Component) -> Result<(), String> {
    let types = component.component_type();
    let Some(export) = types.get_export(engine, HANDLE) else {
        let others: Vec<_> = types.exports(engine).map(|(name, _)| format!("`{name}`")).collect();
        let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        return Err(format!("it does not export the function `{HANDLE}`; it exports {others}"));
    };
    let ComponentItem::ComponentFunc(handle) = export.ty else {
        return Err(format!("its export `{HANDLE}` is not a function"));
    };
    handle
        .typecheck::<(&Event,), (Result<(), Failure>,)>(&types.instance_type())
        .map_err(|error| format!("its function `{HANDLE}` has another type: {error:#}"))
}

fn digest(bytes: &[u8]) -> String {
    let mut digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(REVISION_DIGITS);
    digits
}

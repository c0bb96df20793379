//! Typed events: from a record's type header and JSON body to an author's enum, and the two macros.

use crate::bindings;
use crate::failure::Failure;
use crate::record::Record;

/// The header that names an event's type (CloudEvents, binary mode).
const TYPE_HEADER: &str = "ce_type";

/// The events that a handler wants. Written by [`events!`](crate::events!).
pub trait Events: Sized {
    /// Their types, as they stand in the header `ce_type`.
    const TYPES: &'static [&'static str];

    /// Reads a body of this type; none if the type was not declared.
    ///
    /// # Errors
    /// What is wrong with the body, and at which line and column.
    fn read(event_type: &str, body: &[u8]) -> Option<Result<Self, serde_json::Error>>;
}

/// Reads the event that a record carries.
///
/// # Errors
/// A rejection whose reason names the record, the type and what is wrong.
#[doc(hidden)]
pub fn decode<E: Events>(record: &Record) -> Result<E, Failure> {
    let event_type = event_type(record)?;
    let refused = |problem: String| {
        Failure::reject(format!("{}: event of type \"{event_type}\" {problem}", record.place()))
    };
    let known = || format!("is not one that this handler knows: {}", E::TYPES.join(", "));
    if !E::TYPES.contains(&event_type) {
        return Err(refused(known()));
    }
    let Some(body) = record.value.as_deref() else {
        return Err(refused("has no body".to_owned()));
    };
    match E::read(event_type, body) {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err(refused(format!("has a body that cannot be read: {error}"))),
        None => Err(refused(known())),
    }
}

/// The type that a record's header names.
fn event_type(record: &Record) -> Result<&str, Failure> {
    let Some(bytes) = record.header(TYPE_HEADER) else {
        let reason = format!("{}: event without a type: it has no header {TYPE_HEADER}", record.place());
        return Err(Failure::reject(reason));
    };
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::reject(format!("{}: the header {TYPE_HEADER} is not UTF-8: {error}", record.place()))
    })
}

/// What [`handler!`](crate::handler!) exports: decodes the event, calls the author's function.
///
/// # Errors
/// What decoding or the function answered, as the world has it.
#[doc(hidden)]
pub fn answer<E: Events>(
    event: bindings::Event,
    handle: impl FnOnce(E, &Record) -> Result<(), Failure>,
) -> Result<(), bindings::Failure> {
    let record = Record::from(event);
    decode(&record).and_then(|event| handle(event, &record)).map_err(bindings::Failure::from)
}

/// Declares the events that a handler wants: an enum with one variant for each type, and the type of
/// its body, which must implement `serde::Deserialize`.
///
/// ```
/// #[derive(serde::Deserialize)]
/// pub struct DayClosed { pub day: String }
///
/// keylane_sdk::events! {
///     pub enum Event { "day.closed" => DayClosed(DayClosed) }
/// }
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $event_type:literal => $variant:ident($body:ty)),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $visibility enum $name {
            $(
                $(#[$variant_meta])*
                #[doc = concat!("`", $event_type, "`")]
                $variant($body),
            )+
        }

        impl $crate::Events for $name {
            const TYPES: &'static [&'static str] = &[$($event_type),+];

            fn read(
                event_type: &str,
                body: &[u8],
            ) -> ::core::option::Option<::core::result::Result<Self, $crate::serde_json::Error>> {
                match event_type {
                    $($event_type => {
                        ::core::option::Option::Some($crate::serde_json::from_slice(body).map(Self::$variant))
                    })+
                    _ => ::core::option::Option::None,
                }
            }
        }
    };
}

/// Makes a function the handler of this component. Its shape is
/// `fn(Event, &Record) -> Result<(), Failure>`, where `Event` was declared with
/// [`events!`](crate::events!). Once per component.
#[macro_export]
macro_rules! handler {
    ($handle:path) => {
        #[allow(unsafe_code, reason = "the exported function follows the canonical ABI")]
        const _: () = {
            struct Component;

            impl $crate::bindings::Guest for Component {
                fn handle(
                    event: $crate::bindings::Event,
                ) -> ::core::result::Result<(), $crate::bindings::Failure> {
                    $crate::answer(event, $handle)
                }
            }

            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Component with_types_in $crate::bindings);

            // A native build exports nothing, but must still check and keep the function.
            #[cfg(not(target_family = "wasm"))]
            const _: fn($crate::bindings::Event) -> ::core::result::Result<(), $crate::bindings::Failure> =
                <Component as $crate::bindings::Guest>::handle;
        };
    };
}

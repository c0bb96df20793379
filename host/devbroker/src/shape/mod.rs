//! The shape of every request this broker takes, walked before the codec sees the bytes.
//!
//! The codec allocates an array by the length the wire claims, so four hostile bytes could ask for
//! gigabytes and end the process. This walk allocates nothing: a claimed length must fit into the
//! bytes that are there, and all array elements of a request together have a limit.
//!
//! It also finds strings that are not UTF-8. The codec would refuse the whole request; Kafka reads them as
//! Java does, with replacement characters, and so does this broker ([`java`]).

mod java;
mod requests;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;

use Wire::{Blob, Fixed, List, Row, Text};
pub(crate) use requests::SHAPES;

/// What a field is on the wire.
enum Wire {
    /// A number, a flag or an id of this many bytes.
    Fixed(usize),
    /// A string, which may be null.
    Text,
    /// Bytes, which may be null.
    Blob,
    /// An array of structures; it may be null.
    List(&'static [Field]),
    /// An array of plain values; it may be null.
    Row(&'static Wire),
}

struct Field {
    since: i16,
    until: i16,
    wire: Wire,
}

/// A request this broker takes.
pub(crate) struct Shape {
    pub(crate) key: ApiKey,
    /// The versions it takes.
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// From this version on, lengths are variable and structures end with tagged fields.
    flexible: i16,
    fields: &'static [Field],
}

/// The shape of a request in this version, if the broker takes it.
pub(crate) fn find(key: ApiKey, version: i16) -> Option<&'static Shape> {
    SHAPES.iter().find(|s| s.key == key && (s.min..=s.max).contains(&version))
}

/// Why a body does not have its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A length that is negative or goes past the end.
    Length,
    /// More array elements than the limit.
    Elements,
    /// A string that is too long once its bytes have been replaced.
    Replaced,
}

/// A body that has its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Bytes behind the request.
    pub(crate) left_over: usize,
    /// Where strings lie that are not UTF-8, each with the length before it.
    foreign: Vec<Foreign>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Foreign {
    whole: Range<usize>,
    text: Range<usize>,
}

impl Shape {
    /// Walks a body.
    pub(crate) fn check(&self, version: i16, body: &[u8], max_elements: usize) -> Result<Walked, Misfit> {
        let flexible = version >= self.flexible;
        let foreign = Vec::new();
        let mut walk = Walk { body, rest: body, version, flexible, elements_left: max_elements, foreign };
        walk.structure(self.fields)?;
        Ok(Walked { left_over: walk.rest.len(), foreign: walk.foreign })
    }

    /// The body as the codec can read it: the same bytes, unless a string in it is not UTF-8.
    pub(crate) fn readable(&self, version: i16, body: Bytes, walked: &Walked) -> Result<Bytes, Misfit> {
        if walked.foreign.is_empty() {
            return Ok(body);
        }
        java::replaced(&body, &walked.foreign, version >= self.flexible).map(Into::into)
    }
}

struct Walk<'a> {
    body: &'a [u8],
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
    foreign: Vec<Foreign>,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), Misfit> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.value(&field.wire)?;
            }
        }
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn value(&mut self, wire: &Wire) -> Result<(), Misfit> {
        match wire {
            Fixed(bytes) => self.skip(*bytes),
            Text => self.text(),
            Blob => {
                let length = if self.flexible { self.compact()? } else { self.length_32()? };
                self.skip(length)
            }
            List(fields) => (0..self.elements()?).try_for_each(|_| self.structure(fields)),
            Row(wire) => (0..self.elements()?).try_for_each(|_| self.value(wire)),
        }
    }

    fn text(&mut self) -> Result<(), Misfit> {
        let from = self.at();
        let length = if self.flexible { self.compact()? } else { self.length_16()? };
        let start = self.at();
        self.skip(length)?;
        let text = start..self.at();
        if std::str::from_utf8(self.body.get(text.clone()).unwrap_or_default()).is_err() {
            self.foreign.push(Foreign { whole: from..self.at(), text });
        }
        Ok(())
    }

    fn at(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    fn elements(&mut self) -> Result<usize, Misfit> {
        let count = if self.flexible { self.compact()? } else { self.length_32()? };
        self.elements_left = self.elements_left.checked_sub(count).ok_or(Misfit::Elements)?;
        Ok(count)
    }

    fn tags(&mut self) -> Result<(), Misfit> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Misfit> {
        self.rest = self.rest.get(bytes..).ok_or(Misfit::Length)?;
        Ok(())
    }

    /// A length before a string; -1 is null.
    fn length_16(&mut self) -> Result<usize, Misfit> {
        let length = self.rest.try_get_i16().map_err(|_short| Misfit::Length)?;
        if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_negative| Misfit::Length) }
    }

    /// A length before bytes or an array; -1 is null.
    fn length_32(&mut self) -> Result<usize, Misfit> {
        let length = self.rest.try_get_i32().map_err(|_short| Misfit::Length)?;
        if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_negative| Misfit::Length) }
    }

    /// A length plus one; 0 is null.
    fn compact(&mut self) -> Result<usize, Misfit> {
        Ok(self.varint()?.saturating_sub(1))
    }

    fn varint(&mut self) -> Result<usize, Misfit> {
        let mut value = 0_usize;
        for shift in (0..32).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_short| Misfit::Length)?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Misfit::Length)
    }
}

//! Reading fields.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method};

use super::{ENTRY, Malformed, TABLE, fixed, huffman};
use crate::field_kinds::FieldKinds;
use crate::proxy::forward::Values;
use crate::proxy::framing::kinds_of;
use crate::proxy::http1::name_of;

/// A field of a request as it is meant. What both sides remember is kept so: it is made once, however often it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy::http2) enum Field {
    Method(Method),
    Scheme(Scheme),
    Authority(HeaderValue),
    Path(PathAndQuery),
    /// Any that is no pseudo-field.
    Plain {
        name: HeaderName,
        value: HeaderValue,
        kinds: FieldKinds,
    },
    /// None that a request may have: an unknown pseudo-field, or a name or a value that cannot be.
    Malformed,
}

/// The name of a field.
#[derive(Clone, Debug)]
enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Plain { name: HeaderName, kinds: FieldKinds },
    Malformed,
}

static FIXED: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let fields = (1..).map_while(fixed::field);
    fields.map(|(name, value)| Name::read(name.as_bytes()).with(Bytes::from_static(value.as_bytes()))).collect()
});

impl Name {
    fn read(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            _ if name.iter().any(u8::is_ascii_uppercase) => Self::Malformed,
            _ => match name_of(name) {
                Some(known) => Self::Plain { name: known, kinds: kinds_of(name) },
                None => Self::Malformed,
            },
        }
    }

    /// The field of this name with this value.
    fn with(self, value: Bytes) -> Field {
        let field = match self {
            Self::Method => Method::from_bytes(&value).ok().map(Field::Method),
            Self::Scheme => match &*value {
                b"http" => Some(Field::Scheme(Scheme::HTTP)),
                b"https" => Some(Field::Scheme(Scheme::HTTPS)),
                other => Scheme::try_from(other).ok().map(Field::Scheme),
            },
            Self::Authority => HeaderValue::from_maybe_shared(value).ok().map(Field::Authority),
            Self::Path if value.is_empty() => None,
            Self::Path => PathAndQuery::from_maybe_shared(value).ok().map(Field::Path),
            Self::Plain { name, kinds } => {
                HeaderValue::from_maybe_shared(value).ok().map(|value| Field::Plain { name, value, kinds })
            }
            Self::Malformed => None,
        };
        field.unwrap_or(Field::Malformed)
    }
}

impl Field {
    fn name(&self) -> Name {
        match self {
            Self::Method(_) => Name::Method,
            Self::Scheme(_) => Name::Scheme,
            Self::Authority(_) => Name::Authority,
            Self::Path(_) => Name::Path,
            Self::Plain { name, kinds, .. } => Name::Plain { name: name.clone(), kinds: *kinds },
            Self::Malformed => Name::Malformed,
        }
    }
}

/// Memory that all connections of a worker use in turn.
#[derive(Debug, Default)]
pub(in crate::proxy::http2) struct Scratch {
    text: Vec<u8>,
    values: Values,
}

/// What one side of a connection has sent so far, as far as it is remembered.
#[derive(Debug)]
pub(in crate::proxy::http2) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    field: Field,
    /// Bytes of its name.
    name: usize,
    /// What it counts in the table.
    size: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: TABLE }
    }
}

impl Decoder {
    /// Reads a whole block; `take` gets each field and what it counts (RFC 9113 10.5.1).
    pub(in crate::proxy::http2) fn decode(
        &mut self,
        block: &Bytes,
        scratch: &mut Scratch,
        mut take: impl FnMut(Field, usize),
    ) -> Result<(), Malformed> {
        let mut reader = Reader { block, at: 0 };
        let mut begun = false;
        while let Some(first) = reader.peek() {
            match first {
                // Indexed (6.1).
                0x80.. => {
                    let place = reader.number(7)?;
                    let (field, _, size) = self.entry(place)?;
                    take(field.clone(), size);
                }
                // Literal that is remembered (6.2.1).
                0x40.. => {
                    let (field, name, size) = self.literal(&mut reader, 6, true, scratch)?;
                    self.insert(Entry { field: field.clone(), name, size });
                    take(field, size);
                }
                // How much is remembered from here on (6.3); before the first field only.
                0x20.. => {
                    let limit = reader.number(5)?;
                    if begun || limit > TABLE {
                        return Err(Malformed);
                    }
                    self.limit = limit;
                    self.evict(0);
                    continue;
                }
                // Literal that is not remembered, here (6.2.2) or anywhere (6.2.3).
                _ => {
                    let (field, _, size) = self.literal(&mut reader, 4, false, scratch)?;
                    take(field, size);
                }
            }
            begun = true;
        }
        Ok(())
    }

    /// The field at a place, with the bytes of its name, and what it counts.
    fn entry(&self, place: usize) -> Result<(&Field, usize, usize), Malformed> {
        if let Some(at) = place.checked_sub(fixed::COUNT + 1) {
            return self.entries.get(at).map(|entry| (&entry.field, entry.name, entry.size)).ok_or(Malformed);
        }
        let (name, value) = fixed::field(place).ok_or(Malformed)?;
        let field = FIXED.get(place - 1).ok_or(Malformed)?;
        Ok((field, name.len(), name.len() + value.len() + ENTRY))
    }

    fn literal(
        &self,
        reader: &mut Reader<'_>,
        prefix: u32,
        remembered: bool,
        scratch: &mut Scratch,
    ) -> Result<(Field, usize, usize), Malformed> {
        let (name, name_length) = match reader.number(prefix)? {
            0 => {
                let (text, huffman) = reader.text()?;
                let text = if huffman { unpacked(text, &mut scratch.text)? } else { text };
                (Name::read(text), text.len())
            }
            place => {
                let (field, length, _) = self.entry(place)?;
                (field.name(), length)
            }
        };
        let (text, huffman) = reader.text()?;
        let value = match (remembered, huffman) {
            (false, false) => reader.block.slice_ref(text),
            // It must not keep the memory of what it came with.
            (true, false) => Bytes::copy_from_slice(text),
            (true, true) => Bytes::copy_from_slice(unpacked(text, &mut scratch.text)?),
            (false, true) => scratch.values.bytes(unpacked(text, &mut scratch.text)?),
        };
        let size = name_length + value.len() + ENTRY;
        Ok((name.with(value), name_length, size))
    }

    fn insert(&mut self, entry: Entry) {
        self.evict(entry.size);
        // What is larger than the table empties it, and is not kept itself (4.4).
        if entry.size <= self.limit {
            self.size += entry.size;
            self.entries.push_front(entry);
        }
    }

    /// Makes room for so much.
    fn evict(&mut self, room: usize) {
        while self.size + room > self.limit
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size;
        }
    }
}

/// The text of what is coded by Huffman.
fn unpacked<'t>(coded: &[u8], text: &'t mut Vec<u8>) -> Result<&'t [u8], Malformed> {
    text.clear();
    huffman::decode(coded, text)?;
    Ok(text)
}

/// A block and how much of it has been read.
struct Reader<'b> {
    block: &'b Bytes,
    at: usize,
}

impl<'b> Reader<'b> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    /// A number whose first byte has so many bits for it (5.1).
    fn number(&mut self, prefix: u32) -> Result<usize, Malformed> {
        let mask = (1_u8 << prefix) - 1;
        let first = self.next()? & mask;
        let mut number = usize::from(first);
        if first < mask {
            return Ok(number);
        }
        // Nothing that may be here is larger than three more bytes tell.
        for shift in [0, 7, 14] {
            let byte = self.next()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// A text, and whether it is coded by Huffman (5.2).
    fn text(&mut self) -> Result<(&'b [u8], bool), Malformed> {
        let huffman = self.peek().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.number(7)?;
        let text = self.block.get(self.at..).and_then(|rest| rest.get(..length)).ok_or(Malformed)?;
        self.at += length;
        Ok((text, huffman))
    }
}

//! Writing fields.
//!
//! Texts are written as they are: the Huffman code would make them a fifth shorter, and cost more than all the rest.
//! What is worth remembering is what comes a second time, which most answers of a connection have in common; what is
//! different in each would only push that out.

use std::collections::VecDeque;

use http::{HeaderName, HeaderValue, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::{ENTRY, TABLE, fixed};

/// Longer ones are not remembered.
const LONGEST: usize = 256;
/// So many fields can be known to have come already.
const PLACES: usize = 64;

/// What the other side remembers of what was sent, and what might be worth it.
#[derive(Debug)]
pub(in crate::proxy::http2) struct Encoder {
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// How many have been remembered, those included that are no more.
    inserted: u64,
    size: usize,
    limit: usize,
    /// The smallest limit since the last block, if it has changed.
    told: Option<usize>,
    seen: Box<[Seen; PLACES]>,
}

/// A field that is remembered.
#[derive(Debug)]
struct Entry {
    /// How much of the text is its name.
    name: usize,
    text: Box<[u8]>,
}

/// A field that has come, by its hash.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    hash: u64,
    /// Which entry it is; 0 when it is not remembered.
    number: u64,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            inserted: 0,
            size: 0,
            limit: TABLE,
            told: None,
            seen: Box::new([Seen::default(); PLACES]),
        }
    }
}

impl Encoder {
    /// The other side remembers no more than this.
    pub(in crate::proxy::http2) fn set_limit(&mut self, limit: usize) {
        let limit = limit.min(TABLE);
        if limit != self.limit || self.told.is_some() {
            self.told = Some(self.told.map_or(limit, |least| least.min(limit)));
            self.limit = limit;
            self.evict(0);
        }
    }

    /// What every block begins with.
    pub(in crate::proxy::http2) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(least) = self.told.take() {
            if least < self.limit {
                number(out, 5, 0x20, least);
            }
            number(out, 5, 0x20, self.limit);
        }
    }

    /// Writes a status. There are many, and each that has no place of its own is seldom.
    pub(in crate::proxy::http2) fn status(out: &mut Vec<u8>, status: StatusCode) {
        let place = match status.as_u16() {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                // The name is that of place 8.
                out.push(0x08);
                text(out, status.as_str().as_bytes());
                return;
            }
        };
        out.push(0x80 | place);
    }

    /// Writes a field.
    pub(in crate::proxy::http2) fn field(&mut self, out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
        let (name, sensitive, value) = (name.as_str(), value.is_sensitive(), value.as_bytes());
        let place = fixed::place(name);
        if sensitive || value.len() + name.len() > LONGEST || name == "set-cookie" {
            return literal(out, 4, if sensitive { 0x10 } else { 0 }, place, name, value);
        }
        let hash = xxh3_64(value).rotate_left(29) ^ xxh3_64(name.as_bytes());
        // The remainder is below the length.
        let Some(seen) = self.seen.get_mut((hash % PLACES as u64) as usize) else { return };
        if seen.hash != hash {
            *seen = Seen { hash, number: 0 };
            return literal(out, 4, 0, place, name, value);
        }
        if let Some(age) = self.inserted.checked_sub(seen.number).filter(|_| seen.number > 0)
            && let Some(entry) = (age as usize).checked_add(1).and_then(|back| self.entries.len().checked_sub(back))
            && let Some(entry) = self.entries.get(entry)
            && entry.text.split_at_checked(entry.name) == Some((name.as_bytes(), value))
        {
            return number(out, 7, 0x80, fixed::COUNT + 1 + age as usize);
        }
        let size = name.len() + value.len() + ENTRY;
        if size > self.limit {
            return literal(out, 4, 0, place, name, value);
        }
        self.inserted += 1;
        seen.number = self.inserted;
        self.evict(size);
        self.size += size;
        self.entries.push_back(Entry { name: name.len(), text: [name.as_bytes(), value].concat().into() });
        literal(out, 6, 0x40, place, name, value);
    }

    /// Makes room for so much.
    fn evict(&mut self, room: usize) {
        while self.size + room > self.limit
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.text.len() + ENTRY;
        }
    }
}

/// A field whose name stands at a place of the table, or at none (RFC 7541 6.2).
fn literal(out: &mut Vec<u8>, prefix: u32, kind: u8, place: u8, name: &str, value: &[u8]) {
    number(out, prefix, kind, place.into());
    if place == 0 {
        text(out, name.as_bytes());
    }
    text(out, value);
}

/// A text as it is (RFC 7541 5.2).
fn text(out: &mut Vec<u8>, text: &[u8]) {
    number(out, 7, 0, text.len());
    out.extend_from_slice(text);
}

/// A number behind so many bits of something else (RFC 7541 5.1).
fn number(out: &mut Vec<u8>, prefix: u32, kind: u8, mut number: usize) {
    let most = (1 << prefix) - 1;
    if number < most {
        out.push(kind | number as u8);
        return;
    }
    out.push(kind | most as u8);
    number -= most;
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

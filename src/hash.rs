//! Hashers of maps: for keys that are declared, and for keys that are hashes.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64;

/// Builds hashers for maps keyed by text.
///
/// No seed: keys are declared, only look-ups come from clients, and a look-up that collides costs what the declared
/// keys make it cost. For the same reason a map hashes alike in every process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BuildXxh3;

impl BuildHasher for BuildXxh3 {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3(0)
    }
}

/// Hashes a text in one go; the streaming form of the hash carries a state of half a kilobyte along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Xxh3(u64);

impl Hasher for Xxh3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(29) ^ xxh3_64(bytes);
    }

    // Ends every text that the standard library hashes; a lone text needs no end.
    fn write_u8(&mut self, byte: u8) {
        self.0 = self.0.wrapping_add(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Hashes what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

//! Names and passwords (RFC 7617), checked against a file as htpasswd writes it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderName, HeaderValue};

use super::key_set::{self, Fingerprint};
use crate::filter::Title;

/// How dear a check may be: 2^14 rounds take about a second, and each costs a core that much.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// bcrypt looks at no more of a password; more would be a promise that is not kept.
const MAX_PASSWORD: usize = 72;
/// Longer names have no entry.
const MAX_NAME: usize = 255;
/// For how many milliseconds a password that was right is not checked again.
const REMEMBERED: u64 = 60_000;
/// Passwords that a worker remembers in one generation.
const ENTRIES: usize = 1024;

/// The name and password that a route asks for.
#[derive(Debug)]
pub struct BasicRequirement {
    /// Who may come in.
    pub users: Arc<Users>,
    /// What a browser is told.
    pub challenge: HeaderValue,
    /// The header in which the backend gets the name.
    pub user_header: Option<HeaderName>,
    /// Whether the backend gets name and password.
    pub forward_credentials: bool,
    /// Whether a request in clear is refused.
    pub require_tls: bool,
}

/// A file of names and hashes.
pub struct Users {
    hashes: BTreeMap<Box<str>, Hash>,
    /// A hash that nobody has, as dear as the dearest of the file: a name that is not there takes as long.
    nobody: Option<Box<str>>,
    fingerprint: Fingerprint,
    /// Names whose hash is an old one.
    weak: Vec<Box<str>>,
}

enum Hash {
    Bcrypt(Box<str>),
    Sha1([u8; 20]),
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// It is no text.
    #[error("it is not UTF-8")]
    NotText,
    /// A line has no colon.
    #[error("line {0} is not name:hash")]
    NoName(usize),
    /// A name stands twice.
    #[error("line {0} has a name that stands above already")]
    Twice(usize),
    /// The hash is none of those that are safe to use.
    #[error("line {0} has a hash that is neither bcrypt nor {{SHA}}")]
    Hash(usize),
    /// The hash is too cheap or too dear.
    #[error("line {line} has a bcrypt hash of cost {cost}")]
    Cost {
        /// Counted from 1.
        line: usize,
        /// As the hash says.
        cost: u32,
    },
    /// Nobody is in it.
    #[error("it has no line")]
    Empty,
}

/// A name and a password, as sent.
pub struct Credentials {
    /// The name.
    pub user: String,
    password: Vec<u8>,
}

/// Passwords that one worker has found right a moment ago.
#[derive(Debug, Default)]
pub struct PasswordCache {
    salt: u64,
    young: HashMap<Fingerprint, u64>,
    old: HashMap<Fingerprint, u64>,
}

// === impl Users ===

impl Users {
    /// Reads a file: one `name:hash` a line; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// When a line cannot be used: who stands in it would be locked out without a word.
    pub fn parse(file: &[u8]) -> Result<Self, UsersError> {
        let text = std::str::from_utf8(file).map_err(|_| UsersError::NotText)?;
        let mut hashes = BTreeMap::new();
        let mut weak = Vec::new();
        let mut dearest = None;
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').ok_or(UsersError::NoName(number))?;
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(UsersError::NoName(number));
            }
            // What follows a second colon is for people.
            let hash = hash.split(':').next().unwrap_or_default();
            let hash = match hash.strip_prefix("{SHA}") {
                Some(encoded) => {
                    let bytes = STANDARD.decode(encoded).map_err(|_| UsersError::Hash(number))?;
                    weak.push(name.into());
                    Hash::Sha1(bytes.try_into().map_err(|_| UsersError::Hash(number))?)
                }
                None => {
                    let cost = bcrypt_cost(hash).ok_or(UsersError::Hash(number))?;
                    if !COSTS.contains(&cost) {
                        return Err(UsersError::Cost { line: number, cost });
                    }
                    if dearest.as_ref().is_none_or(|(most, _)| cost > *most) {
                        dearest = Some((cost, hash.into()));
                    }
                    Hash::Bcrypt(hash.into())
                }
            };
            if hashes.insert(name.into(), hash).is_some() {
                return Err(UsersError::Twice(number));
            }
        }
        if hashes.is_empty() {
            return Err(UsersError::Empty);
        }
        let nobody = dearest.map(|(_, hash)| hash);
        Ok(Self { hashes, nobody, fingerprint: key_set::fingerprint(&[file]), weak })
    }

    /// The names whose hash is SHA-1, which is quick to guess.
    pub fn weak(&self) -> &[Box<str>] {
        &self.weak
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether nobody is in it, which no file that was read is.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether a check takes no time worth speaking of.
    pub fn is_quick(&self, credentials: &Credentials) -> bool {
        match self.hashes.get(credentials.user.as_str()) {
            Some(Hash::Sha1(_)) => true,
            Some(Hash::Bcrypt(_)) => false,
            None => self.nobody.is_none(),
        }
    }

    /// Whether this is somebody, by the right password. It takes up to a second of a core: not for a worker's thread,
    /// unless [`Self::is_quick`].
    pub fn check(&self, credentials: &Credentials) -> bool {
        match self.hashes.get(credentials.user.as_str()) {
            Some(Hash::Sha1(hash)) => {
                let sent = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &credentials.password);
                constant_time::verify_slices_are_equal(sent.as_ref(), hash).is_ok()
            }
            Some(Hash::Bcrypt(hash)) => bcrypt::verify(&credentials.password, hash).unwrap_or(false),
            None => {
                if let Some(hash) = &self.nobody {
                    let _ = bcrypt::verify(&credentials.password, hash);
                }
                false
            }
        }
    }
}

/// The cost of a bcrypt hash, in any of the spellings that mean the same: `$2a$`, `$2b$`, `$2y$`.
fn bcrypt_cost(hash: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|mark| hash.strip_prefix(mark))?;
    let (cost, rest) = rest.split_once('$')?;
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    (cost.len() == 2 && rest.len() == 53 && rest.bytes().all(base64)).then(|| cost.parse().ok()).flatten()
}

// === impl UsersError ===

impl UsersError {
    /// What would be right.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotText | Self::NoName(_) | Self::Hash(_) | Self::Empty => {
                "write the file with `htpasswd -B -c auth NAME`"
            }
            Self::Twice(_) => "leave one of the two lines out",
            Self::Cost { .. } => "use a cost of 4 to 14, as in `htpasswd -B -C 10`",
        }
    }
}

// === impl Credentials ===

impl Credentials {
    /// What one value of an `Authorization` header says; `None` when it is no name and password.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let (scheme, encoded) = value.as_bytes().split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") || encoded.len() > 2 * (MAX_NAME + MAX_PASSWORD) {
            return None;
        }
        let mut user = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = user.split_off(colon + 1);
        user.pop();
        let user = String::from_utf8(user).ok()?;
        let is_plain = !user.chars().any(char::is_control) && !password.contains(&0);
        (is_plain && password.len() <= MAX_PASSWORD).then_some(Self { user, password })
    }
}

// === impl PasswordCache ===

impl PasswordCache {
    /// An empty one; the salt is to be random.
    pub fn new(salt: u64) -> Self {
        Self { salt, ..Self::default() }
    }

    /// Whether this password was right for these users a moment ago.
    pub fn knows(&self, users: &Users, credentials: &Credentials, now: u64) -> bool {
        let key = self.key(users, credentials);
        self.young.get(&key).or_else(|| self.old.get(&key)).is_some_and(|until| now < *until)
    }

    /// Remembers a password that was right.
    pub fn remember(&mut self, users: &Users, credentials: &Credentials, now: u64) {
        if self.young.len() >= ENTRIES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(self.key(users, credentials), now + REMEMBERED);
    }

    /// Nothing that the password could be read from.
    fn key(&self, users: &Users, credentials: &Credentials) -> Fingerprint {
        let salt = self.salt.to_be_bytes();
        key_set::fingerprint(&[&salt, &users.fingerprint, credentials.user.as_bytes(), &credentials.password])
    }
}

impl fmt::Debug for Hash {
    /// Without the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "bcrypt",
            Self::Sha1(_) => "{SHA}",
        })
    }
}

impl fmt::Debug for Users {
    /// Without the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("hashes", &self.hashes).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Display for BasicRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, challenge: _, user_header, forward_credentials: _, require_tls } = self;
        write!(f, "one of {} users", users.len())?;
        if let Some(header) = user_header {
            write!(f, "; {} is the name", Title(header))?;
        }
        if !*require_tls {
            f.write_str("; also in clear")?;
        }
        Ok(())
    }
}

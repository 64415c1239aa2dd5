//! Which files a folder holds.
//!
//! Names that begin with a dot are passed over: editors' swap files, `.git`, and the folders in which a mounted
//! ConfigMap keeps its generations (`..data`, `..2026_11_22`). Its entries are links through `..data` and are followed,
//! after everything that is no link. What can be reached in several ways is read once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::document::Format;

/// The most files read below one folder.
const MAX_FILES: usize = 10_000;

/// How deep folders may nest.
const MAX_DEPTH: usize = 32;

/// What was found below a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files to read, in the order in which they count.
    pub(super) files: BTreeMap<PathBuf, Format>,
    /// What could not be looked into, and why: a folder or a link. What was known of files below stays.
    pub(super) unreadable: BTreeMap<PathBuf, String>,
}

/// How a file is written, by its name; `None` for one that is not ours to read.
fn format(name: &OsStr) -> Option<Format> {
    let name = name.to_str()?;
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() || name.starts_with('.') {
        return None;
    }
    match extension {
        "yaml" | "yml" => Some(Format::Yaml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// The files below `root`, or `root` itself when it is a file.
///
/// # Errors
///
/// When `root` is not there or cannot be looked into.
pub(super) fn list(root: &Path) -> io::Result<Listing> {
    let mut walk = Walk { listing: Listing::default(), seen: BTreeSet::new(), links: VecDeque::new() };
    let real = fs::canonicalize(root)?;
    if fs::metadata(&real)?.is_dir() {
        walk.seen.insert(real.clone());
        walk.folder(root, &real, 0)?;
        while let Some(Link { path, real, depth }) = walk.links.pop_front() {
            let reached = fs::canonicalize(real).and_then(|real| walk.entry(&path, real, depth));
            walk.note(path, reached);
        }
    } else {
        let name = root.file_name().unwrap_or_default();
        walk.listing.files.insert(root.to_owned(), format(name).unwrap_or(Format::Yaml));
    }
    Ok(walk.listing)
}

struct Walk {
    listing: Listing,
    /// The real paths of all folders entered and files taken, so that links do not lead to them again.
    seen: BTreeSet<PathBuf>,
    /// Links met and not yet followed.
    links: VecDeque<Link>,
}

/// A link that the user knows as `path` and that really lies at `real`.
struct Link {
    path: PathBuf,
    real: PathBuf,
    depth: usize,
}

impl Walk {
    /// Looks through the folder that the user knows as `path` and that really is `real`.
    fn folder(&mut self, path: &Path, real: &Path, depth: usize) -> io::Result<()> {
        let mut names =
            fs::read_dir(real)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        for name in names {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let (path, real) = (path.join(&name), real.join(&name));
            let looked = match fs::symlink_metadata(&real) {
                Ok(metadata) if metadata.is_symlink() => {
                    self.links.push_back(Link { path, real, depth });
                    continue;
                }
                Ok(_) => self.entry(&path, real, depth),
                Err(error) => Err(error),
            };
            self.note(path, looked);
        }
        Ok(())
    }

    /// Keeps what went wrong with `path`. Between the listing and the look a file may go, and a link may lead nowhere;
    /// both are as if it had not been there.
    fn note(&mut self, path: PathBuf, looked: io::Result<()>) {
        if let Err(error) = looked
            && error.kind() != io::ErrorKind::NotFound
        {
            self.listing.unreadable.insert(path, error.to_string());
        }
    }

    /// Takes a file or looks through a folder, unless that was done. No link any more.
    fn entry(&mut self, path: &Path, real: PathBuf, depth: usize) -> io::Result<()> {
        let metadata = fs::metadata(&real)?;
        if metadata.is_dir() {
            if depth == MAX_DEPTH {
                return Err(io::Error::other(format!("folders nest deeper than {MAX_DEPTH} levels here")));
            }
            if self.seen.len() >= 2 * MAX_FILES {
                return Err(io::Error::other("too many folders; this one is not looked into"));
            }
            return if self.seen.insert(real.clone()) { self.folder(path, &real, depth + 1) } else { Ok(()) };
        }
        let Some(format) = path.file_name().and_then(format) else {
            return Ok(());
        };
        if !metadata.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        if !self.seen.insert(real) {
            return Ok(());
        }
        if self.listing.files.len() == MAX_FILES {
            return Err(io::Error::other(format!("more than {MAX_FILES} files; this one is not read")));
        }
        self.listing.files.insert(path.to_owned(), format);
        Ok(())
    }
}

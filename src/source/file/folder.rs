//! What a folder declares, and what changed in it since the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::document::{self, Document, Fault, Format, Position};
use super::walk::{self, Listing};
use crate::source::decode::{self, Origin};
use crate::source::{Change, Effect, Finding, Kind, ObjectKey};

/// The largest file, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The most findings told about one file; a file that needs more is mended from the top anyway.
const MAX_FINDINGS: usize = 100;

/// A folder of declared resources (or one file of them), as last read.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    files: BTreeMap<Arc<Path>, Held>,
    /// The objects in force and the file that each comes from: the first in path order that declares it.
    winners: BTreeMap<ObjectKey, Arc<Path>>,
    /// What was last told of each place.
    told: BTreeMap<String, Vec<Finding>>,
    started: bool,
}

/// What one look at the folder brought.
#[derive(Debug, Default)]
pub struct Reading {
    /// What changed since the last look; on the first, everything.
    pub changes: Vec<Change>,
    /// Whether a file was found gone or empty that declared something before. An editor may be in the middle of saving
    /// it, so that is believed only when the next look sees the same.
    pub doubtful: bool,
}

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The file, as it can be opened from here.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    /// The text of the line.
    pub text: String,
}

/// Behind what is wrong with a text that was right before.
const STAYS: &str = " (what was last read of it stays in force)";

/// One file as last read.
#[derive(Debug, Default)]
struct Held {
    /// Of the text last seen, also when it was refused.
    digest: Option<u128>,
    format: Option<Format>,
    /// What the last good text declares.
    objects: Vec<Declared>,
    /// What is wrong with the text last seen beyond the objects' own findings.
    findings: Vec<Finding>,
    /// Whether the last look found it gone or empty while it still counts.
    doubted: bool,
}

/// One object and where its file declares it.
#[derive(Debug)]
struct Declared {
    key: ObjectKey,
    change: Change,
    /// The number of the document among those of the file.
    number: usize,
    /// Its path in the document: empty, or that of an item of a `List`.
    within: Box<str>,
}

// === impl Folder ===

impl Folder {
    /// A folder that has not been looked at yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            files: BTreeMap::new(),
            winners: BTreeMap::new(),
            told: BTreeMap::new(),
            started: false,
        }
    }

    /// Looks at every file and says what changed. Only files whose text changed are parsed.
    ///
    /// # Errors
    ///
    /// When the folder itself is not there or cannot be listed. What was read before stays in force.
    pub fn refresh(&mut self) -> io::Result<Reading> {
        let Listing { files, unreadable } = walk::list(&self.root)?;
        let mut reading = Reading::default();
        let mut changed = self.forget(&files, &unreadable, &mut reading);
        for (path, format) in files {
            let path: Arc<Path> = path.into();
            let held = self.files.entry(path.clone()).or_default();
            if held.read(&path, format, &mut reading.doubtful) {
                changed.insert(path);
            }
        }
        let refused = unreadable
            .into_iter()
            .map(|(path, reason)| (path.into(), vec![refusal(format!("cannot be read: {reason}"))]));
        let mut places: BTreeMap<Arc<Path>, Vec<Finding>> = refused.collect();
        self.settle(&changed, &mut places, &mut reading);
        self.tell(places, &mut reading);
        if !self.started {
            self.started = true;
            reading.changes.extend(Kind::ALL.map(Change::Synced));
        }
        Ok(reading)
    }

    /// Where a field of an object stands; the object's document when it has no such field.
    pub fn spot(&self, key: &ObjectKey, field: &str) -> Option<Spot> {
        let path = self.winners.get(key)?;
        let held = self.files.get(path)?;
        let declared = held.objects.iter().find(|declared| declared.key == *key)?;
        let text = read_text(path).ok()?;
        if held.digest != Some(xxh3_128(text.as_bytes())) {
            return None;
        }
        let documents = document::split(&text, held.format?).ok()?;
        let Position { line, column } = documents.get(declared.number)?.locate(&below(&declared.within, field));
        let text = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        Some(Spot { file: path.to_path_buf(), line, column, text })
    }

    /// Lets go of files that are gone, and says which.
    fn forget(
        &mut self,
        listed: &BTreeMap<PathBuf, Format>,
        unreadable: &BTreeMap<PathBuf, String>,
        reading: &mut Reading,
    ) -> BTreeSet<Arc<Path>> {
        let mut gone = BTreeSet::new();
        for (path, held) in &mut self.files {
            let out_of_sight = || path.ancestors().any(|above| unreadable.contains_key(above));
            if listed.contains_key(&**path) || out_of_sight() {
                continue;
            }
            if held.doubted || held.objects.is_empty() {
                gone.insert(path.clone());
            } else {
                held.doubted = true;
                reading.doubtful = true;
            }
        }
        self.files.retain(|path, _| !gone.contains(path));
        gone
    }

    /// Settles which file each object comes from and collects what that changes.
    fn settle(
        &mut self,
        changed: &BTreeSet<Arc<Path>>,
        places: &mut BTreeMap<Arc<Path>, Vec<Finding>>,
        reading: &mut Reading,
    ) {
        let mut winners: BTreeMap<ObjectKey, Arc<Path>> = BTreeMap::new();
        let mut by_kind: BTreeMap<Kind, Vec<Change>> = Kind::ALL.map(|kind| (kind, Vec::new())).into();
        for (path, held) in &self.files {
            let findings = places.entry(path.clone()).or_default();
            findings.extend(held.findings.iter().cloned());
            for Declared { key, change, .. } in &held.objects {
                if let Some(first) = winners.get(key) {
                    // A file on its way out leaves room for its successor, such as itself under another name.
                    let leaving = held.doubted || self.files.get(first).is_some_and(|first| first.doubted);
                    if leaving {
                        continue;
                    }
                    findings.push(Finding { effect: Effect::Told, ..refusal(declared_twice(key, first)) });
                    continue;
                }
                let moved = self.winners.get(key) != Some(path);
                if moved || changed.contains(path) {
                    by_kind.entry(key.kind).or_default().push(change.clone());
                }
                winners.insert(key.clone(), path.clone());
            }
        }
        if self.started {
            let gone = self.winners.keys().filter(|key| !winners.contains_key(key));
            reading.changes.extend(gone.cloned().map(Change::Delete));
            reading.changes.extend(by_kind.into_values().flatten());
        } else {
            reading.changes.extend(by_kind.into_iter().map(|(kind, changes)| Change::Replace(kind, changes)));
        }
        self.winners = winners;
    }

    /// Tells of each place what is wrong with it, when that is not what was last told.
    fn tell(&mut self, places: BTreeMap<Arc<Path>, Vec<Finding>>, reading: &mut Reading) {
        let mut now: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for (path, mut findings) in places {
            let more = findings.len().saturating_sub(MAX_FINDINGS);
            if more > 0 {
                findings.truncate(MAX_FINDINGS);
                findings.push(refusal(format!("{more} more are not told")));
            }
            let place = path.display().to_string();
            for finding in &mut findings {
                finding.place.get_or_insert_with(|| place.clone());
            }
            if !findings.is_empty() {
                now.insert(place, findings);
            }
        }
        let mended = self.told.keys().filter(|place| !now.contains_key(*place));
        reading.changes.extend(mended.map(|place| Change::Place(place.clone(), Vec::new())));
        for (place, findings) in &now {
            if self.told.get(place) != Some(findings) {
                reading.changes.push(Change::Place(place.clone(), findings.clone()));
            }
        }
        self.told = now;
    }
}

// === impl Held ===

impl Held {
    /// Reads the file again and says whether what it declares may have changed.
    fn read(&mut self, path: &Path, format: Format, doubtful: &mut bool) -> bool {
        self.format = Some(format);
        let text = match read_text(path) {
            Ok(text) => text,
            Err(reason) => {
                self.digest = None;
                self.findings = vec![refusal(reason)];
                return false;
            }
        };
        let digest = xxh3_128(text.as_bytes());
        if self.digest == Some(digest) && !self.doubted {
            return false;
        }
        let documents = match document::split(&text, format) {
            Ok(documents) => documents,
            Err(fault) => return self.refuse(path, digest, fault),
        };
        if documents.is_empty() && !self.objects.is_empty() && !self.doubted {
            self.doubted = true;
            *doubtful = true;
            return false;
        }
        let mut values = Vec::new();
        for document in &documents {
            match document.value() {
                Ok(value) => values.push(value),
                Err(fault) => return self.refuse(path, digest, fault),
            }
        }
        (self.digest, self.doubted) = (Some(digest), false);
        let former = std::mem::take(&mut self.objects);
        self.findings.clear();
        for (number, (document, value)) in documents.iter().zip(values).enumerate() {
            if let Some(value) = value {
                self.take(path, number, document, "", value);
            }
        }
        for declared in &mut self.objects {
            declared.stay_as(former.iter().find(|former| former.key == declared.key));
        }
        true
    }

    /// Keeps what the last good text declared and tells what is wrong with this one.
    fn refuse(&mut self, path: &Path, digest: u128, fault: Fault) -> bool {
        let Fault { message, position } = fault;
        let place = position.map(|at| place(path, at));
        let kept = if self.objects.is_empty() { "" } else { STAYS };
        (self.digest, self.doubted) = (Some(digest), false);
        self.findings = vec![Finding { place, ..refusal(message + kept) }];
        false
    }

    /// Takes the object in a document, or those in a `List` such as `kubectl get -o yaml` prints. `within` is the path
    /// of the object in the document.
    fn take(&mut self, path: &Path, number: usize, document: &Document<'_>, within: &str, mut value: Value) {
        let listed = value.get("kind").and_then(Value::as_str) == Some("List");
        if listed && within.is_empty() {
            let items = value.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
            for (index, item) in items.into_iter().enumerate() {
                self.take(path, number, document, &format!("items[{index}]"), item);
            }
            return;
        }
        let put_place = |finding: &mut Finding| {
            finding.place = Some(place(path, document.locate(&below(within, &finding.field))));
        };
        let change = decode::kind_of(&value).and_then(|kind| decode::decode(kind, value, Origin::File));
        match change {
            Ok(mut change) => {
                if let Change::Upsert(_, findings) | Change::Invalid(_, _, findings) = &mut change {
                    // To find a place is to read up to it; the first hundred are enough to begin with.
                    findings.iter_mut().take(MAX_FINDINGS).for_each(put_place);
                }
                let key = match &change {
                    Change::Upsert(object, _) => object.key(),
                    Change::Invalid(key, ..) | Change::Delete(key) => key.clone(),
                    Change::Replace(..) | Change::Synced(_) | Change::Unavailable(..) | Change::Place(..) => return,
                };
                self.objects.push(Declared { key, change, number, within: within.into() });
            }
            Err(mut finding) => {
                put_place(&mut finding);
                self.findings.push(finding);
            }
        }
    }
}

// === impl Declared ===

impl Declared {
    /// Keeps what the object was, if it cannot be used as it is written now: as an API server would, which refuses such
    /// a change. One that never could be used is spoilt as far as it must be.
    fn stay_as(&mut self, former: Option<&Self>) {
        let (Change::Upsert(_, findings) | Change::Invalid(_, _, findings)) = &mut self.change else { return };
        if !findings.iter().any(Finding::is_fatal) {
            return;
        }
        let Some(Change::Upsert(object, of_former)) = former.map(|former| &former.change) else { return };
        if of_former.iter().any(Finding::is_fatal) {
            return;
        }
        let mut findings = std::mem::take(findings);
        // An unknown field beside it is often what is meant by the one that is missing, so it is told as well.
        for finding in findings.iter_mut().filter(|finding| finding.is_fatal()) {
            finding.effect = Effect::Withheld;
            // Before what would be right.
            let at = finding.message.find("; ").unwrap_or(finding.message.len());
            finding.message.insert_str(at, STAYS);
        }
        self.change = Change::Upsert(object.clone(), findings);
    }
}

// === free functions ===

/// The path of `field` of an object that lies at `within` in its document.
fn below(within: &str, field: &str) -> String {
    if within.is_empty() || field.is_empty() { format!("{within}{field}") } else { format!("{within}.{field}") }
}

fn declared_twice(key: &ObjectKey, first: &Path) -> String {
    format!("{key} is also declared in {}, which comes first and counts; remove one of them", first.display())
}

fn refusal(message: String) -> Finding {
    Finding { field: String::new(), message, place: None, effect: Effect::Spoils }
}

fn place(path: &Path, Position { line, column }: Position) -> String {
    format!("{}:{line}:{column}", path.display())
}

/// The text of a file that is not too large, or why it cannot be had.
fn read_text(path: &Path) -> Result<String, String> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("is larger than {MAX_BYTES} bytes; split it"));
    }
    String::from_utf8(bytes).map_err(|error| format!("is no UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

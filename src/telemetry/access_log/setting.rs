//! What `--access-log` says: in which form, where to, and which exchanges.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::entry::Entry;
use super::field::Field;
use super::headers::Headers;
use super::query::QueryShown;
use super::stamp::Stamp;
use super::text::{Template, TemplateError};
use super::{json, text};

/// What to log of exchanges, if anything.
///
/// ```text
/// off
/// json
/// combined,file=/var/log/headgate/access.log
/// json,status=5xx,min-duration=500ms       what failed or was slow
/// json,sample=1%                           every error, and one success in a hundred
/// json,query=keep
/// json,header=X-Tenant,header=Authorization:redact,header=User-Agent:drop
/// json,jwt-sub=keep                        also who the caller's verified token says it is
/// sample=10%,text:{client_ip} {method} {target} {status} {duration_ms}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Nothing.
    Off,
    /// This.
    On(Plan),
}

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) format: Format,
    /// The file; standard output without one.
    pub(super) file: Option<PathBuf>,
    pub(super) filter: Filter,
    pub(super) query: QueryShown,
    pub(super) headers: Headers,
    /// Whether lines of JSON tell who the caller's token says it is.
    subject: bool,
}

/// The form of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Combined,
    Nginx,
    Text(Template),
}

/// Which exchanges get a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    statuses: Vec<RangeInclusive<u16>>,
    min_duration: Option<Duration>,
    /// Of successes, so many in 2^32.
    sample: Option<u64>,
}

/// Why a text says nothing about an access log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It has a part that means nothing.
    #[error(
        "`{0}` means nothing here; write off, json, combined, nginx or text:TEMPLATE, with file=PATH, status=5xx, \
         min-duration=500ms, sample=1%, query=keep|redact|drop, jwt-sub=keep|drop or header=NAME:keep|redact|drop, \
         separated by commas"
    )]
    Part(String),
    /// It asks for two forms at once.
    #[error("`{0}` is a second format; write one")]
    SecondFormat(String),
    /// `off` with anything else.
    #[error("off stands alone")]
    OffAndMore,
    /// A status that is none.
    #[error("status=`{0}`: write 404, 5xx or 400-499, several with a plus between")]
    Status(String),
    /// A time that is none.
    #[error("min-duration=`{0}`: write a time such as 500ms or 2s")]
    Duration(String),
    /// A share that is none.
    #[error("sample=`{0}`: write a percentage such as 1% or 0.5%, up to 100%")]
    Sample(String),
    /// A header that cannot be shown so.
    #[error("{0}")]
    Header(String),
    /// A form of line that has no room for headers.
    #[error(
        "header=NAME needs json or text:…, whose lines have room for it; combined and nginx have only User-Agent and Referer"
    )]
    HeaderForm,
    /// Who the caller is, in a form that has no place for it.
    #[error("jwt-sub=keep: only json has a place for it; write json, or {{jwt_sub}} in a text:TEMPLATE")]
    NoPlace,
    /// A template that is none.
    #[error("{0}")]
    Template(String),
}

impl From<TemplateError> for SettingError {
    fn from(error: TemplateError) -> Self {
        Self::Template(error.to_string())
    }
}

impl Setting {
    /// A line of JSON for every exchange, to standard output.
    pub fn json() -> Self {
        Self::On(Plan::json())
    }
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(asked: &str) -> Result<Self, SettingError> {
        if asked.trim() == "off" {
            return Ok(Self::Off);
        }
        let mut format = None;
        let mut plan = Plan::json();
        let mut rest = asked;
        loop {
            // A template may hold commas: it is the last part and takes what is left.
            let (part, next) = match rest.split_once(',') {
                Some((part, next)) if !rest.trim_start().starts_with("text:") => (part.trim(), Some(next)),
                _ => (rest.trim_start(), None),
            };
            let mut form = |form: Format| match format.replace(form) {
                None => Ok(()),
                Some(_) => Err(SettingError::SecondFormat(part.to_owned())),
            };
            match part.split_once('=') {
                _ if part.starts_with("text:") => {
                    form(Format::Text(Template::parse(part.strip_prefix("text:").unwrap_or_default())?))?;
                }
                None => match part.trim_end() {
                    "json" => form(Format::Json)?,
                    "combined" => form(Format::Combined)?,
                    "nginx" => form(Format::Nginx)?,
                    "off" => return Err(SettingError::OffAndMore),
                    _ => return Err(SettingError::Part(part.to_owned())),
                },
                Some(("file", path)) if !path.is_empty() => plan.file = Some(PathBuf::from(path.trim_end())),
                Some(("status", statuses)) => {
                    for status in statuses.trim_end().split('+') {
                        let range = range(status).ok_or_else(|| SettingError::Status(status.to_owned()))?;
                        plan.filter.statuses.push(range);
                    }
                }
                Some(("min-duration", time)) => {
                    let least = duration(time.trim_end()).ok_or_else(|| SettingError::Duration(time.to_owned()))?;
                    plan.filter.min_duration = Some(least);
                }
                Some(("sample", share)) => {
                    let share = share.trim_end();
                    plan.filter.sample = Some(sample(share).ok_or_else(|| SettingError::Sample(share.to_owned()))?);
                }
                Some(("header", asked)) => {
                    plan.headers.add(asked).map_err(|error| SettingError::Header(error.to_string()))?;
                }
                Some(("query", "keep")) => plan.query = QueryShown::Kept,
                Some(("query", "redact")) => plan.query = QueryShown::Redacted,
                Some(("query", "drop")) => plan.query = QueryShown::Dropped,
                Some(("jwt-sub", "keep")) => plan.subject = true,
                Some(("jwt-sub", "drop")) => plan.subject = false,
                Some(_) => return Err(SettingError::Part(part.to_owned())),
            }
            match next {
                Some(next) => rest = next,
                None => break,
            }
        }
        plan.format = format.unwrap_or(Format::Json);
        match &plan.format {
            Format::Combined | Format::Nginx if !plan.headers.is_usual() => return Err(SettingError::HeaderForm),
            Format::Text(template) => {
                for name in template.headers() {
                    if plan.headers.others().all(|(known, _)| known != name) {
                        plan.headers.add(name.as_str()).map_err(|error| SettingError::Header(error.to_string()))?;
                    }
                }
            }
            Format::Json | Format::Combined | Format::Nginx => {}
        }
        if plan.subject && plan.format != Format::Json {
            return Err(SettingError::NoPlace);
        }
        Ok(Self::On(plan))
    }
}

/// `404`, `5xx` or `400-499`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |text: &str| text.parse().ok().filter(|code| (100..=999).contains(code));
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=9).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    match text.split_once('-') {
        Some((from, to)) => {
            let (from, to) = (code(from)?, code(to)?);
            (from <= to).then_some(from..=to)
        }
        None => code(text).map(|code| code..=code),
    }
}

/// `500ms`, `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok()?.try_into().ok()
}

/// `1%` as a share of 2^32.
fn sample(text: &str) -> Option<u64> {
    let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then(|| (percent / 100.0 * 4_294_967_296.0) as u64)
}

impl Filter {
    /// Whether an exchange gets a line. What the rule says comes first; then whatever matches one of the conditions
    /// that are set; and of those that went well, the share that is sampled.
    pub(super) fn wants(&self, entry: &Entry<'_>, random: impl FnOnce() -> u64) -> bool {
        let Self { statuses, min_duration, sample } = self;
        if let Some(wanted) = entry.wanted {
            return wanted;
        }
        let slow = min_duration.map(|least| entry.duration >= least);
        let status = (!statuses.is_empty()).then(|| statuses.iter().any(|range| range.contains(&entry.status)));
        if matches!((slow, status), (Some(false), Some(false) | None) | (None, Some(false))) {
            return false;
        }
        match sample {
            Some(share) if entry.succeeded() => random() >> 32 < *share,
            Some(_) | None => true,
        }
    }
}

impl Plan {
    /// A line of JSON for every exchange, to standard output, with nothing in it that has to be asked for.
    fn json() -> Self {
        let (filter, query, headers) = (Filter::default(), QueryShown::default(), Headers::default());
        Self { format: Format::Json, file: None, filter, query, headers, subject: false }
    }

    /// Whether lines tell who the caller's token says it is. A template that names the field asks for it.
    pub(super) fn wants_subject(&self) -> bool {
        match &self.format {
            Format::Json => self.subject,
            Format::Combined | Format::Nginx => false,
            Format::Text(template) => template.has(Field::JwtSub),
        }
    }

    /// Whether lines tell how long a request's head was.
    pub(super) fn wants_head(&self) -> bool {
        matches!(self.format, Format::Nginx)
    }

    /// Appends the exchange's line, with its end.
    pub(super) fn encode(&self, out: &mut Vec<u8>, entry: &Entry<'_>, stamp: &mut Stamp) {
        let entry = &Entry {
            user_agent: self.headers.user_agent.of(entry.user_agent),
            referer: self.headers.referer.of(entry.referer),
            ..*entry
        };
        match &self.format {
            Format::Json => json::encode(out, entry, self.query, &self.headers, stamp),
            Format::Combined => text::combined(out, entry, self.query, stamp),
            Format::Nginx => text::nginx(out, entry, self.query, stamp),
            Format::Text(template) => template.encode(out, entry, self.query, &self.headers, stamp),
        }
        out.push(b'\n');
    }
}

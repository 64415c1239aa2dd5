//! `/api/v1/tap`: live requests as server-sent events, those that are asked for.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::Frame;
use serde_json::Value;

use crate::table::query;
use crate::telemetry::tap::{Seen, Tap};

/// Without requests, a comment goes out this often, so that both sides know that the other is there.
const ALIVE: Duration = Duration::from_secs(15);

/// Why requests cannot be chosen so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error(
        "`{0}` chooses nothing; there are route, rule, service, host, method, path, status, reason and min-duration"
    )]
    Parameter(String),
    #[error("status=`{0}`: write 404, 5xx or 400-499")]
    Status(String),
    #[error("min-duration=`{0}`: write a time such as 500ms")]
    Duration(String),
}

/// Which requests are shown: those for which everything holds that is set.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filter {
    /// Fields that have to be of this value.
    equal: Vec<(&'static str, String)>,
    path: Option<String>,
    status: Option<(u64, u64)>,
    milliseconds: Option<f64>,
}

impl Filter {
    /// Reads `?route=shop/shop&status=5xx&path=/orders`.
    pub(super) fn read(asked: Option<&str>) -> Result<Self, Wrong> {
        const EQUAL: [&str; 6] = ["route", "rule", "service", "host", "method", "reason"];
        let mut filter = Self::default();
        for pair in asked.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (query::decode(name), query::decode(value).into_owned());
            match (&*name, EQUAL.iter().find(|known| ***known == *name)) {
                (_, Some(known)) => filter.equal.push((known, value)),
                ("path", None) => filter.path = Some(value),
                ("status", None) => filter.status = Some(statuses(&value).ok_or(Wrong::Status(value))?),
                ("min-duration", None) => {
                    let time: Option<Duration> =
                        value.parse::<jiff::SignedDuration>().ok().and_then(|t| t.try_into().ok());
                    filter.milliseconds = Some(time.ok_or(Wrong::Duration(value))?.as_secs_f64() * 1e3);
                }
                (_, None) => return Err(Wrong::Parameter(name.into_owned())),
            }
        }
        Ok(filter)
    }

    fn wants(&self, line: &str) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Ok(shown) = serde_json::from_str::<Value>(line) else { return false };
        let Self { equal, path, status, milliseconds } = self;
        let text = |name: &str| shown.get(name).and_then(Value::as_str).unwrap_or_default();
        equal.iter().all(|(name, value)| match *name {
            // A host is meant with whatever port.
            "host" => text("host").split(':').next().is_some_and(|host| host.eq_ignore_ascii_case(value)),
            _ => text(name) == value,
        }) && path.as_ref().is_none_or(|path| text("path").starts_with(path.as_str()))
            && status.is_none_or(|(from, to)| {
                shown.get("status").and_then(Value::as_u64).is_some_and(|status| (from..=to).contains(&status))
            })
            && milliseconds
                .is_none_or(|least| shown.get("duration_ms").and_then(Value::as_f64).is_some_and(|took| took >= least))
    }
}

fn statuses(text: &str) -> Option<(u64, u64)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u64 = class.parse().ok().filter(|class| (1..=9).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// Events as the frames of a body.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;

/// Begins to show requests; it ends when it is dropped. Nothing is kept for a client that reads slowly but what the tap
/// keeps for everybody.
pub(super) fn events(tap: &Tap, filter: Filter) -> Events {
    let watching = tap.watch();
    // The first event is a comment, so that the head of the answer is sent before there is any request.
    Box::pin(stream::unfold((watching, filter, true), async |(mut watching, filter, first)| {
        let event = loop {
            if first {
                break ":\n\n".to_owned();
            }
            match tokio::time::timeout(ALIVE, watching.next()).await {
                Ok(Some(Seen::Request(line))) if filter.wants(&line) => break format!("data: {line}\n\n"),
                Ok(Some(Seen::Request(_))) => {}
                Ok(Some(Seen::Missed(count))) => break format!("event: missed\ndata: {{\"missed\":{count}}}\n\n"),
                Ok(None) => return None,
                Err(_) => break ":\n\n".to_owned(),
            }
        };
        Some((Ok(Frame::data(event.into())), (watching, filter, false)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_choose_requests() {
        let line = r#"{"host":"Shop.test:81","path":"/orders/1","method":"GET","status":503,"reason":"no_backend","route":"shop/shop","duration_ms":12.5}"#;
        let wants =
            |asked: &str| Filter::read(Some(asked)).map(|filter| filter.wants(line)).map_err(|wrong| wrong.to_string());
        for yes in
            ["", "route=shop/shop", "host=shop.test&status=5xx", "path=%2Forders", "min-duration=12ms&status=500-599"]
        {
            assert_eq!(wants(yes), Ok(true), "{yes}");
        }
        for no in ["route=a/b", "host=other", "status=503&method=POST", "min-duration=13ms", "status=404", "rule=x"] {
            assert_eq!(wants(no), Ok(false), "{no}");
        }
        for (wrong, says) in [("user=me", "`user` chooses nothing"), ("status=x", "5xx"), ("min-duration=x", "500ms")] {
            assert!(wants(wrong).unwrap_err().contains(says), "{wrong}");
        }
    }
}

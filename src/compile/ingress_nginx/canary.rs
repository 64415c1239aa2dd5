//! Which of another Ingress's requests an Ingress gets: those whose header says so, then those whose cookie does, then a
//! share of the others.

use http::{HeaderName, header};

use super::annotations::Annotations;
use crate::table::{HeaderMatch, ValueMatch};

/// The least of what shares are parts of, as ingress-nginx has it.
const TOTAL: u32 = 100;

/// Which requests a canary gets.
#[derive(Clone, Debug)]
pub(in super::super) struct Canary {
    conditions: Vec<Condition>,
    weight: u32,
    total: u32,
}

/// A condition on a request, and what follows.
#[derive(Clone, Debug)]
pub(in super::super) struct Condition {
    /// What the rule is called in which it stands.
    pub(in super::super) name: &'static str,
    pub(in super::super) header: HeaderMatch,
    /// Whether the canary gets the request, or whoever it shares requests of.
    pub(in super::super) to_canary: bool,
}

impl Canary {
    /// Reads which requests the Ingress gets, if it is a canary.
    pub(super) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        if annotations.flag("canary") != Some(true) {
            return None;
        }
        let mut conditions = by_header(annotations);
        conditions.extend(by_cookie(annotations));
        let total = annotations.number("canary-weight-total").unwrap_or(TOTAL).max(TOTAL);
        let weight = annotations.number("canary-weight");
        if weight.is_none() && conditions.is_empty() {
            let remedy = "add canary-weight, canary-by-header or canary-by-cookie";
            annotations.unusable("canary", "nothing says which requests it gets", remedy);
        }
        Some(Self { conditions, weight: weight.unwrap_or(0).min(total), total })
    }

    /// The conditions, the first of which counts that holds.
    pub(in super::super) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The weights of whom it shares requests of, and its own.
    pub(in super::super) fn weights(&self) -> (u32, u32) {
        (self.total - self.weight, self.weight)
    }
}

fn by_header(annotations: &mut Annotations<'_>) -> Vec<Condition> {
    const NAME: &str = "canary-by-header";
    const PATTERN: &str = "canary-by-header-pattern";
    let value = annotations.take("canary-by-header-value");
    let pattern = annotations.take(PATTERN);
    let Some(declared) = annotations.take(NAME) else { return Vec::new() };
    let Ok(name) = HeaderName::try_from(declared) else {
        let what = format!("\"{}\" is no header name", declared.escape_debug());
        annotations.unusable(NAME, what, "use letters, digits and -");
        return Vec::new();
    };
    let to_canary =
        |value| vec![Condition { name: NAME, header: HeaderMatch { name: name.clone(), value }, to_canary: true }];
    match (value, pattern) {
        (Some(value), _) => to_canary(ValueMatch::Exact(value.into())),
        (None, Some(pattern)) => match ValueMatch::parse_regular_expression(pattern) {
            Ok(value) => to_canary(value),
            Err(error) => {
                let what = format!("the regular expression does not compile: {error}");
                annotations.unusable(PATTERN, what, "use the syntax of https://docs.rs/regex");
                Vec::new()
            }
        },
        (None, None) => {
            let mut conditions = to_canary(ValueMatch::Exact("always".into()));
            let header = HeaderMatch { name, value: ValueMatch::Exact("never".into()) };
            conditions.push(Condition { name: "canary-by-header-never", header, to_canary: false });
            conditions
        }
    }
}

fn by_cookie(annotations: &mut Annotations<'_>) -> Vec<Condition> {
    const NAME: &str = "canary-by-cookie";
    let Some(cookie) = annotations.take(NAME) else { return Vec::new() };
    // A cookie's name is a token, as that of a header is.
    if HeaderName::from_bytes(cookie.as_bytes()).is_err() {
        let what = format!("\"{}\" is no name of a cookie", cookie.escape_debug());
        annotations.unusable(NAME, what, "use a token");
        return Vec::new();
    }
    let with = |name, word, to_canary| {
        let expression = format!("(^|; *){}={word}(;|$)", regex::escape(cookie));
        let value = ValueMatch::parse_regular_expression(&expression).ok()?;
        Some(Condition { name, header: HeaderMatch { name: header::COOKIE, value }, to_canary })
    };
    [with(NAME, "always", true), with("canary-by-cookie-never", "never", false)].into_iter().flatten().collect()
}

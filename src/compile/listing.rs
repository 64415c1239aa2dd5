//! The report as a list: what `headgate check` prints and the admin port answers with.

use std::fmt;

use serde::Serialize;

use super::code::{Code, Severity};
use super::report::{Condition, Report, State, Told, in_two};
use crate::source::ObjectKey;
use crate::store::Watch;

/// One problem with everything that says where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// `HG1203`.
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// `GatewayRoute shop/shop`; none for a place that holds no object, such as a file that does not parse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The rule's name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The path of the field.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// File, line and column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// How one object of ours stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedObject {
    /// `GatewayRoute`.
    pub kind: &'static str,
    /// `namespace/name`.
    pub name: String,
    /// `accepted`, `invalid` or `unresolved`.
    pub state: &'static str,
    /// What its status says; none for kinds that have no conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ListedCondition>,
    /// For a policy: what it attaches to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// One condition of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedCondition {
    /// `Accepted`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// The answer.
    pub status: bool,
    /// Why.
    pub reason: &'static str,
    /// The same for people.
    pub message: String,
}

impl Report {
    /// Every object that is ours: those with something wrong first.
    pub fn list_objects(&self) -> Vec<ListedObject> {
        let mut objects: Vec<_> = self.objects.iter().filter(|(_, report)| report.ours).collect();
        objects.sort_by_key(|(key, report)| (report.state() == State::Accepted, *key));
        let shown = objects.into_iter().map(|(key, report)| ListedObject {
            kind: key.kind.as_str(),
            name: if key.namespace.is_empty() {
                key.name.to_string()
            } else {
                format!("{}/{}", key.namespace, key.name)
            },
            state: report.state().as_str(),
            conditions: report
                .conditions
                .iter()
                .map(|Condition { type_, status, reason, message }| ListedCondition {
                    type_: type_.as_str(),
                    status: *status,
                    reason: reason.as_str(),
                    message: message.clone(),
                })
                .collect(),
            targets: report.ancestors.iter().map(ToString::to_string).collect(),
        });
        shown.collect()
    }

    /// Every problem: those of objects, then those of places, then kinds that cannot be watched.
    pub fn list(&self) -> Vec<Listed> {
        self.list_at(|_, _| None)
    }

    /// The same, with where a field of an object stands, for problems that do not say so themselves.
    pub fn list_at(&self, place: impl Fn(&ObjectKey, &str) -> Option<String>) -> Vec<Listed> {
        let of_objects = self.problems().map(|Told { object, problem }| Listed {
            code: problem.code.as_str(),
            severity: word(problem.severity()),
            object: Some(object.to_string()),
            rule: problem.rule.as_deref().map(str::to_owned),
            field: problem.field.clone(),
            what: problem.what.clone(),
            remedy: problem.remedy.clone(),
            place: problem.place.clone().or_else(|| place(object, &problem.field)),
        });
        let of_places = self.places.iter().flat_map(|(place, findings)| {
            findings.iter().map(move |finding| {
                let (what, remedy) = in_two(&finding.message);
                Listed {
                    code: Code::Invalid.as_str(),
                    severity: word(if finding.is_fatal() { Severity::Error } else { Severity::Warning }),
                    object: None,
                    rule: None,
                    field: finding.field.clone(),
                    what: what.to_owned(),
                    remedy: remedy.to_owned(),
                    place: Some(finding.place.clone().unwrap_or_else(|| place.clone())),
                }
            })
        });
        let of_kinds = self.watches.iter().filter_map(|(kind, watch)| match watch {
            Watch::Unavailable(reason) if !kind.optional() => Some(Listed {
                code: Code::KindUnavailable.as_str(),
                severity: word(Code::KindUnavailable.severity()),
                object: Some(kind.to_string()),
                rule: None,
                field: String::new(),
                what: reason.clone(),
                remedy: "what is known of it stays in force until it can be watched again".to_owned(),
                place: None,
            }),
            Watch::Unavailable(_) | Watch::Pending | Watch::Synced => None,
        });
        of_objects.chain(of_places).chain(of_kinds).collect()
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

impl fmt::Display for Listed {
    /// Two or three lines: what, where, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}]: {}", self.severity, self.code, self.what)?;
        let mut parts = Vec::new();
        parts.extend(self.place.clone());
        parts.extend(self.object.clone());
        parts.extend(self.rule.as_ref().map(|rule| format!("rule \"{rule}\"")));
        parts.extend((!self.field.is_empty()).then(|| self.field.clone()));
        write!(f, "  --> {}", parts.join("  "))?;
        if !self.remedy.is_empty() {
            write!(f, "\n  = help: {}", self.remedy)?;
        }
        Ok(())
    }
}

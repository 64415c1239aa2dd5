//! What is said about declared resources: problems, and the conditions that follow from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::code::{Aspect, Code, Reason, Severity};
use crate::persistent::Map;
use crate::source::{Effect, Finding, Kind, ObjectKey};
use crate::store::Watch;

/// How much of a problem goes into a condition's message: enough for any sentence of ours, and a bound on what a tenant's
/// own strings can make of it.
const MESSAGE_LIMIT: usize = 1024;

/// All verdicts of one compilation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The verdict on each object that is ours, and on every other that has a problem.
    pub objects: Map<ObjectKey, Arc<ObjectReport>>,
    /// Those of them that have problems.
    pub troubled: Map<ObjectKey, Arc<ObjectReport>>,
    /// What is known of the watch of each kind.
    pub watches: BTreeMap<Kind, Watch>,
    /// What is wrong with places that are no objects, such as files that do not parse.
    pub places: BTreeMap<String, Vec<Finding>>,
}

impl Report {
    /// Every problem with the object it is about, in the order in which objects are listed.
    pub fn problems(&self) -> impl Iterator<Item = Told<'_>> {
        let mut troubled: Vec<_> = self.troubled.iter().collect();
        troubled.sort_by_key(|(object, _)| *object);
        troubled
            .into_iter()
            .flat_map(|(object, report)| report.problems.iter().map(move |problem| Told { object, problem }))
    }

    /// How many problems there are.
    pub fn problem_count(&self) -> usize {
        self.troubled.values().map(|report| report.problems.len()).sum()
    }

    /// Tells this of an object beside what is told of it already.
    pub fn tell(&mut self, key: ObjectKey, problems: Vec<Problem>) {
        let known = self.objects.get(&key).map(|verdict| ObjectReport::clone(verdict));
        let mut verdict = known.unwrap_or_default();
        verdict.problems.extend(problems);
        self.put(key, Some(verdict));
    }

    /// Puts the verdict on an object in place of the one before; none takes it out.
    pub fn put(&mut self, key: ObjectKey, verdict: Option<ObjectReport>) {
        let Some(verdict) = verdict.map(Arc::new) else {
            self.objects.remove(&key);
            self.troubled.remove(&key);
            return;
        };
        if verdict.problems.is_empty() {
            self.troubled.remove(&key);
        } else {
            self.troubled.insert(key.clone(), verdict.clone());
        }
        self.objects.insert(key, verdict);
    }
}

impl FromIterator<(ObjectKey, ObjectReport)> for Report {
    fn from_iter<I: IntoIterator<Item = (ObjectKey, ObjectReport)>>(verdicts: I) -> Self {
        let mut report = Self::default();
        verdicts.into_iter().for_each(|(key, verdict)| report.put(key, Some(verdict)));
        report
    }
}

/// A problem and the object it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'r> {
    /// The object.
    pub object: &'r ObjectKey,
    /// The problem.
    pub problem: &'r Problem,
}

impl fmt::Display for Told<'_> {
    /// `HG1203 GatewayRoute shop/shop: rule "orders" (spec.rules[0].backendRefs[1].port): Service shop/orders has no ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, problem } = self;
        write!(f, "{} {object}: {problem}", problem.code)?;
        match &problem.place {
            Some(place) => write!(f, " [{place}]"),
            None => Ok(()),
        }
    }
}

/// How an object of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Served as declared.
    Accepted,
    /// Something declared is not served as declared.
    Invalid,
    /// Valid, but something it refers to is missing or forbidden.
    Unresolved,
}

impl State {
    /// The value of a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Invalid => "invalid",
            Self::Unresolved => "unresolved",
        }
    }
}

/// The verdict on one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectReport {
    /// Whether the object is ours to serve, and its status ours to write.
    pub ours: bool,
    /// The `metadata.generation` that was looked at: the conditions' `observedGeneration`.
    pub generation: Option<i64>,
    /// The `metadata.uid` that was looked at, so that an Event names the very object.
    pub uid: Option<String>,
    /// What is wrong with it, errors before warnings, each in the order of its fields.
    pub problems: Vec<Problem>,
    /// The conditions of its status; none for kinds that have none, such as Ingress.
    pub conditions: Vec<Condition>,
    /// For a policy: what becomes of it at each of its targets that is ours to tell of.
    pub ancestors: Vec<Ancestor>,
}

/// What becomes of a policy at one of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The number of the target in `spec.targetRefs`.
    pub target: usize,
    /// The target, `GatewayRoute shop/shop`.
    pub name: String,
    /// The conditions there.
    pub conditions: Vec<Condition>,
}

impl ObjectReport {
    /// How it stands.
    pub fn state(&self) -> State {
        let errors = || self.problems.iter().filter(|problem| problem.severity() == Severity::Error);
        if errors().any(|problem| problem.code.reason().concerns_acceptance()) {
            State::Invalid
        } else if errors().next().is_some() {
            State::Unresolved
        } else {
            State::Accepted
        }
    }

    /// The first problem as one line, for `status.message`.
    pub fn message(&self) -> Option<String> {
        self.problems.first().map(|problem| clipped(problem.to_string()))
    }
}

impl fmt::Display for Ancestor {
    /// `GatewayRoute shop/shop`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Something wrong with a declared object: which field, what is wrong, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of problem.
    pub code: Code,
    /// The rule it spoils or concerns, by name or number; none when it concerns the object as a whole.
    pub rule: Option<Arc<str>>,
    /// The path of the field, such as `spec.rules[0].backendRefs[1].port`; empty when the object as a whole is meant.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What would be right; may be empty when `what` says it.
    pub remedy: String,
    /// Where it stands, `routes/shop.yaml:41:17`, when the source knows.
    pub place: Option<String>,
}

impl Problem {
    /// A problem of an object, or of its `field`.
    pub fn new(code: Code, field: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, rule: None, field: field.into(), what: what.into(), remedy: remedy.into(), place: None }
    }

    /// The same, of one rule.
    pub fn in_rule(self, rule: &Arc<str>) -> Self {
        Self { rule: Some(rule.clone()), ..self }
    }

    /// Whether it spoils anything, or is only to be told.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// What a source found.
    pub(super) fn found(finding: &Finding) -> Self {
        let Finding { field, message, place, effect } = finding;
        let code = match effect {
            Effect::Told => Code::UnknownField,
            Effect::Spoils | Effect::Withheld => Code::Invalid,
        };
        let (what, remedy) = in_two(message);
        Self { place: place.clone(), ..Self::new(code, field.clone(), what, remedy) }
    }
}

impl fmt::Display for Problem {
    /// `rule "orders" (spec.rules[0].backendRefs[1].port): Service shop/orders has no port 8443; it has 8080 (http)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.rule, self.field.as_str()) {
            (Some(rule), "") => write!(f, "rule \"{rule}\": ")?,
            (Some(rule), field) => write!(f, "rule \"{rule}\" ({field}): ")?,
            (None, "") => {}
            (None, field) => write!(f, "{field}: ")?,
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// One condition of an object's status, without the times, which are the status writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which question it answers.
    pub type_: ConditionType,
    /// The answer.
    pub status: bool,
    /// The answer's reason.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
}

/// The questions that conditions answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// Is what is declared valid, supported and not in conflict?
    Accepted,
    /// Does everything it refers to exist, and may it be referred to?
    ResolvedRefs,
    /// Are some of its rules served and others refused? Only present when so, as in Gateway API.
    PartiallyInvalid,
    /// Is what is declared what is served?
    Programmed,
    /// Are requests counted where they should be?
    Enforced,
    /// Do policies bound how often it may be asked? Only present when so (GEP-713).
    RateLimitPolicyAffected,
}

impl ConditionType {
    /// The name in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::PartiallyInvalid => "PartiallyInvalid",
            Self::Programmed => "Programmed",
            Self::Enforced => "Enforced",
            Self::RateLimitPolicyAffected => "headgate.dev/RateLimitPolicyAffected",
        }
    }
}

/// The conditions of a GatewayRoute with these problems; `refused` are the rules that answer 500 out of `rules`, and
/// `policies` those that apply.
pub(super) fn route_conditions(
    problems: &[Problem],
    rules: usize,
    refused: &[Arc<str>],
    policies: &BTreeSet<ObjectKey>,
) -> Vec<Condition> {
    let accepted =
        verdict(problems, Aspect::Accepted, ConditionType::Accepted, Reason::Accepted, "every rule is valid");
    let resolved = verdict(
        problems,
        Aspect::ResolvedRefs,
        ConditionType::ResolvedRefs,
        Reason::ResolvedRefs,
        "every reference resolves",
    );
    let served = rules.saturating_sub(refused.len());
    let reason = if accepted.status { resolved.reason } else { accepted.reason };
    let partial = (!refused.is_empty() && served > 0).then(|| Condition {
        type_: ConditionType::PartiallyInvalid,
        status: true,
        reason,
        message: clipped(format!("{} of {rules} rules answer 500: {}", refused.len(), refused.join(", "))),
    });
    let waits = problems.iter().any(|problem| problem.code == Code::KeysUnavailable);
    let programmed = if accepted.status && refused.is_empty() && !waits {
        Condition {
            type_: ConditionType::Programmed,
            status: true,
            reason: Reason::Programmed,
            message: "what is declared is what is served".to_owned(),
        }
    } else {
        let message = match (rules, served) {
            _ if accepted.status && refused.is_empty() => "rules that ask for a token wait for keys".to_owned(),
            (0, _) => "nothing of it is served".to_owned(),
            (_, 0) => "every rule answers 500".to_owned(),
            (rules, served) if served < rules => format!("{} of {rules} rules answer 500", rules - served),
            (_, _) => "a part of what is declared belongs to others".to_owned(),
        };
        let reason = if accepted.status { resolved.reason } else { Reason::Invalid };
        Condition { type_: ConditionType::Programmed, status: false, reason, message }
    };
    let affected = (!policies.is_empty()).then(|| {
        let names: Vec<_> = policies.iter().map(|policy| format!("{}/{}", policy.namespace, policy.name)).collect();
        Condition {
            type_: ConditionType::RateLimitPolicyAffected,
            status: true,
            reason: Reason::Accepted,
            message: clipped(format!("requests are limited by {}", names.join(", "))),
        }
    });
    [Some(accepted), Some(resolved), partial, Some(programmed), affected].into_iter().flatten().collect()
}

/// The conditions of a RateLimitPolicy with these problems: at the target of this number, or as a whole. `away` says
/// that it counts in a store that is away.
pub(super) fn policy_conditions(problems: &[Problem], target: Option<usize>, away: bool) -> Vec<Condition> {
    // What is wrong with another target says nothing about this one.
    let concerns = |problem: &&Problem| match (target_of(&problem.field), target) {
        (Some(of), Some(target)) => of == target,
        (None, _) | (_, None) => true,
    };
    let problems: Vec<_> = problems.iter().filter(concerns).cloned().collect();
    let accepted =
        verdict(&problems, Aspect::Accepted, ConditionType::Accepted, Reason::Accepted, "the policy is valid");
    let enforced = accepted.status.then(|| {
        let (reason, message) = match away {
            false => (Reason::Enforced, "requests are counted"),
            true => (Reason::StoreUnavailable, "Redis does not answer; failureMode says what happens meanwhile"),
        };
        Condition { type_: ConditionType::Enforced, status: !away, reason, message: message.to_owned() }
    });
    [accepted].into_iter().chain(enforced).collect()
}

/// What a policy is told that counts in a store that is away.
pub(super) fn store_is_away() -> Problem {
    let what = "Redis does not answer; each limit does meanwhile what its failureMode says";
    Problem::new(Code::StoreAway, "", what, "bring Redis back; `headgate doctor` says how it is reached")
}

/// The number in `spec.targetRefs[7].name`.
fn target_of(field: &str) -> Option<usize> {
    field.strip_prefix("spec.targetRefs[")?.split_once(']')?.0.parse().ok()
}

fn verdict(problems: &[Problem], aspect: Aspect, type_: ConditionType, good: Reason, message: &str) -> Condition {
    let mut wrong = problems
        .iter()
        .filter(|problem| problem.severity() == Severity::Error && problem.code.reason().aspect() == aspect);
    let Some(first) = wrong.next() else {
        return Condition { type_, status: true, reason: good, message: message.to_owned() };
    };
    let more = match wrong.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    let message = format!("{}{more}", clipped(first.to_string()));
    Condition { type_, status: false, reason: first.code.reason(), message }
}

/// A source says in one sentence what is wrong and, behind a semicolon, what would be right.
pub(super) fn in_two(message: &str) -> (&str, &str) {
    message.split_once("; ").unwrap_or((message, ""))
}

/// Errors first, and otherwise as they came.
pub(super) fn ordered(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.severity());
    problems
}

fn clipped(mut text: String) -> String {
    if text.len() > MESSAGE_LIMIT {
        text.truncate(text.floor_char_boundary(MESSAGE_LIMIT));
        text.push('…');
    }
    text
}

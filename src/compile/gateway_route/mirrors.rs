//! Backends that get copies of a rule's requests.

use super::super::code::Code;
use super::super::lookup::Lookup;
use super::super::lowered::DraftMirror;
use super::super::report::Problem;
use super::{backends, filters};
use crate::api::gateway_route::{Filter, FilterType, RequestMirror};
use crate::source::ObjectKey;

/// The mirrors among a rule's filters, in their order.
pub(super) fn lower(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    rule: &str,
    declared: &[Filter],
    problems: &mut Vec<Problem>,
) -> Vec<DraftMirror> {
    let mut mirrors = Vec::new();
    let answers =
        |filter: &&Filter| matches!(filter.filter_type, FilterType::RequestRedirect | FilterType::DirectResponse);
    let answer = declared.iter().find(answers);
    for (index, filter) in declared.iter().enumerate() {
        let field = format!("{rule}.filters[{index}]");
        let Some(mirror) = filter.request_mirror.as_deref().filter(|_| filter.filter_type == FilterType::RequestMirror)
        else {
            continue;
        };
        if !filters::fits(&field, filter, problems) {
            continue;
        }
        if let Some(answer) = answer {
            let what =
                format!("{} answers every request, so there is nothing to copy", filters::name(answer.filter_type));
            problems.push(Problem::new(Code::IncompatibleFilters, field.as_str(), what, "remove one of them"));
        }
        let RequestMirror { backend_ref, percent } = mirror;
        let field = format!("{field}.requestMirror");
        let percent = u32::try_from(*percent).ok().filter(|percent| *percent <= 100).unwrap_or_else(|| {
            let what = format!("{percent} of a hundred is no share");
            problems.push(Problem::new(Code::InvalidFilter, format!("{field}.percent"), what, "use 0 to 100"));
            0
        });
        let resolved = backends::of_filter(lookup, from, &format!("{field}.backendRef"), backend_ref, problems);
        mirrors.push(DraftMirror { percent, name: resolved.name, target: resolved.target });
    }
    mirrors
}

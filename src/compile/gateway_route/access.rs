//! Filters that ask who a client is and what it may, whatever else the rule does.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use super::super::code::Code;
use super::super::lookup::Lookup;
use super::super::lowered::{Draft, DraftAuthService, DraftAuthTarget};
use super::super::report::Problem;
use super::backends;
use super::filters::{self, has_own_step};
use crate::address::{Network, Networks};
use crate::api::ByteSize;
use crate::api::gateway_route::{
    Cors as DeclaredCors, CorsMethod, ExternalAuth as DeclaredExternalAuth, Filter, IpAccess as DeclaredIpAccess,
    RequestBody,
};
use crate::filter::{Cors, ExternalAuth, HeaderRules, IpAccess, Listed, Origin, Origins, Shown, TemplateError};
use crate::source::ObjectKey;
use crate::table::BodyBounds;

/// The most bytes that are held of a body when nothing else is said.
const HELD: u64 = 1 << 20;

/// The filters of a rule that have a step of their own.
pub(super) fn of_rule(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    rule: &str,
    declared: &[Filter],
    draft: &mut Draft,
    problems: &mut Vec<Problem>,
) {
    let mut first = BTreeMap::new();
    for (index, filter) in declared.iter().enumerate().filter(|(_, filter)| has_own_step(filter.filter_type)) {
        let field = format!("{rule}.filters[{index}]");
        let of_type = filters::name(filter.filter_type);
        if let Some(other) = first.insert(of_type, field.clone()) {
            let what = format!("{other} is of type {of_type} too");
            problems.push(Problem::new(Code::IncompatibleFilters, field.as_str(), what, "make one of the two"));
        }
        if !filters::fits(&field, filter, problems) {
            continue;
        }
        if let Some(declared) = &filter.ip_access {
            draft.access.ip = Some(Box::new(ip_access(&format!("{field}.ipAccess"), declared, problems)));
        }
        if let Some(declared) = &filter.cors {
            draft.access.cors = cors(&format!("{field}.cors"), declared, problems).map(Box::new);
        }
        if let Some(declared) = &filter.external_auth {
            let field = format!("{field}.externalAuth");
            draft.auth_service = external_auth(lookup, from, &field, declared, problems);
        }
    }
}

/// Bounds on the request's body.
pub(super) fn body(declared: Option<&RequestBody>) -> BodyBounds {
    let Some(RequestBody { max_body_size, buffering }) = declared else { return BodyBounds::default() };
    let most = max_body_size.as_ref().map(ByteSize::bytes).filter(|most| *most > 0);
    BodyBounds { most: most.or(buffering.then_some(HELD)), held: *buffering }
}

/// Which addresses may pass.
fn ip_access(field: &str, declared: &DeclaredIpAccess, problems: &mut Vec<Problem>) -> IpAccess {
    let DeclaredIpAccess { allow, deny } = declared;
    if allow.is_empty() && deny.is_empty() {
        let what = "it has neither allow nor deny";
        problems.push(Problem::new(Code::InvalidFilter, field, what, "list networks in one of them"));
    }
    let allowed = networks(&format!("{field}.allow"), allow, problems);
    let deny = networks(&format!("{field}.deny"), deny, problems);
    IpAccess { allow: (!allow.is_empty()).then_some(allowed), deny }
}

/// The networks of a list, those that are none told.
fn networks(field: &str, declared: &[String], problems: &mut Vec<Problem>) -> Networks {
    let one = |(index, text): (usize, &String)| {
        let parsed: Result<Network, _> = text.parse();
        parsed
            .map_err(|error| {
                let field = format!("{field}[{index}]");
                problems.push(Problem::new(Code::InvalidNetwork, field, error.to_string(), error.remedy()));
            })
            .ok()
    };
    declared.iter().enumerate().filter_map(one).collect()
}

/// Which pages of other origins may use the rule.
fn cors(field: &str, declared: &DeclaredCors, problems: &mut Vec<Problem>) -> Option<Cors> {
    let DeclaredCors { allow_origins, allow_methods, allow_headers, expose_headers, allow_credentials, max_age } =
        declared;
    let mut invalid = |field: String, what: String, remedy: &str| {
        problems.push(Problem::new(Code::InvalidFilter, field, what, remedy));
    };
    let every = allow_origins.iter().any(|origin| origin == "*");
    if every && *allow_credentials {
        let what = "browsers send no credentials to a route that is for every origin".to_owned();
        invalid(format!("{field}.allowCredentials"), what, "list the origins, or remove it");
    }
    if allow_origins.is_empty() {
        invalid(
            format!("{field}.allowOrigins"),
            "no origin is allowed".to_owned(),
            "list origins, or remove the filter",
        );
    }
    let mut origins = Vec::new();
    for (index, origin) in allow_origins.iter().enumerate().filter(|(_, origin)| *origin != "*") {
        match Origin::parse(origin) {
            Ok(origin) => origins.push(origin),
            Err(error) => {
                let what = format!("\"{}\": {error}", origin.escape_debug());
                invalid(format!("{field}.allowOrigins[{index}]"), what, error.remedy());
            }
        }
    }
    let mut names = |list: &str, names: &[String]| {
        for (index, name) in names.iter().enumerate() {
            if name != "*" && HeaderName::from_bytes(name.as_bytes()).is_err() {
                let what = format!("\"{}\" is no header name", name.escape_debug());
                invalid(format!("{field}.{list}[{index}]"), what, "use a token, or *");
            }
        }
        if names.iter().any(|name| name == "*") {
            Listed::Everything
        } else {
            Listed::these(names.iter().map(String::as_str))
        }
    };
    let headers = names("allowHeaders", allow_headers);
    let exposed = names("exposeHeaders", expose_headers);
    let seconds = u32::try_from(*max_age).ok().filter(|seconds| *seconds > 0);
    if seconds.is_none() {
        invalid(format!("{field}.maxAge"), format!("{max_age} seconds is no time"), "use 1 or more");
    }
    Some(Cors {
        origins: if every { Origins::Every } else { Origins::These(origins.into()) },
        methods: methods(allow_methods),
        headers,
        exposed,
        credentials: *allow_credentials,
        max_age: HeaderValue::from(seconds?),
    })
}

/// A service to ask.
fn external_auth(
    lookup: &mut Lookup<'_>,
    from: &ObjectKey,
    field: &str,
    declared: &DeclaredExternalAuth,
    problems: &mut Vec<Problem>,
) -> Option<DraftAuthService> {
    let DeclaredExternalAuth { backend_ref, path, allowed_headers, allowed_response_headers, timeout, fail_open } =
        declared;
    let target = match path.as_deref().map(PathAndQuery::try_from) {
        Some(Ok(target)) if target.as_str().starts_with('/') => Some(target),
        None => None,
        Some(_) => {
            let what = "it cannot be asked for";
            problems.push(Problem::new(
                Code::InvalidFilter,
                format!("{field}.path"),
                what,
                "write a path, as in /check",
            ));
            return None;
        }
    };
    let mut names = |list: &str, declared: &[String]| -> Box<[HeaderName]> {
        let one = |(index, name): (usize, &String)| {
            let parsed = HeaderRules::parse_name(name);
            let told = |error: TemplateError| {
                let field = format!("{field}.{list}[{index}]");
                problems.push(Problem::new(Code::InvalidFilter, field, error.to_string(), error.remedy()));
            };
            parsed.map_err(told).ok()
        };
        declared.iter().enumerate().filter_map(one).collect()
    };
    let shown = names("allowedHeaders", allowed_headers);
    let passed_on = names("allowedResponseHeaders", allowed_response_headers);
    if timeout.is_zero() {
        let what = "a service that has no time to answer answers nothing";
        problems.push(Problem::new(Code::InvalidTimeout, format!("{field}.timeout"), what, "use 1ms or more"));
    }
    let resolved = backends::of_filter(lookup, from, &format!("{field}.backendRef"), backend_ref, problems);
    let (shown, timeout) = (Shown::These(shown), timeout.as_std());
    let auth = ExternalAuth { target, shown, passed_on, timeout, fail_open: *fail_open, sign_in: None };
    Some(DraftAuthService { auth, name: resolved.name, target: DraftAuthTarget::Backend(resolved.target) })
}

/// As HTTPRoute has it, pages may use what a form could do anyway when nothing is said.
fn methods(declared: &[CorsMethod]) -> Listed {
    if declared.is_empty() {
        return Listed::these(["GET", "HEAD", "POST"]);
    }
    let mut names = Vec::new();
    for method in declared {
        names.push(match method {
            CorsMethod::Get => "GET",
            CorsMethod::Head => "HEAD",
            CorsMethod::Post => "POST",
            CorsMethod::Put => "PUT",
            CorsMethod::Delete => "DELETE",
            CorsMethod::Connect => "CONNECT",
            CorsMethod::Options => "OPTIONS",
            CorsMethod::Trace => "TRACE",
            CorsMethod::Patch => "PATCH",
            CorsMethod::Any => return Listed::Everything,
        });
    }
    Listed::these(names)
}

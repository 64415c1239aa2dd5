//! Filters that ask who a client is and what it may, whatever else the rule does.

use http::{HeaderName, HeaderValue};

use super::super::code::Code;
use super::super::report::Problem;
use crate::address::{Network, Networks};
use crate::api::gateway_route::{Cors as DeclaredCors, CorsMethod, IpAccess as DeclaredIpAccess};
use crate::filter::{Cors, IpAccess, Listed, Origin, Origins};

/// Which addresses may pass.
pub(super) fn ip_access(field: &str, declared: &DeclaredIpAccess, problems: &mut Vec<Problem>) -> IpAccess {
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
pub(super) fn cors(field: &str, declared: &DeclaredCors, problems: &mut Vec<Problem>) -> Option<Cors> {
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

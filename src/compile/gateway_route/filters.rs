//! Filters of a rule or of one of its backends.

use http::uri::Scheme;
use http::{HeaderName, HeaderValue, StatusCode};

use super::super::code::Code;
use super::super::report::Problem;
use super::parameters::Parameters;
use super::unsupported;
use crate::api::gateway_route::{
    DirectResponse, Filter as Declared, FilterType, HeaderModifier, HeaderValue as DeclaredHeader, PathModifier,
    PathModifierType, RedirectScheme, RequestRedirect, UrlRewrite,
};
use crate::filter::{self, Filter, HeaderRules, HeaderTemplate, PathRewrite, Redirect, Rewrite, TemplateError};

/// What filters are lowered with.
struct Lowering<'a> {
    parameters: &'a Parameters,
    problems: &'a mut Vec<Problem>,
}

/// Whether filters of a type run at a step of their own, wherever they are declared.
pub(super) fn has_own_step(filter_type: FilterType) -> bool {
    match filter_type {
        FilterType::IpAccess | FilterType::Cors | FilterType::ExternalAuth => true,
        FilterType::RequestHeaderModifier
        | FilterType::ResponseHeaderModifier
        | FilterType::UrlRewrite
        | FilterType::RequestMirror
        | FilterType::RequestRedirect
        | FilterType::DirectResponse => false,
    }
}

/// The filters of a rule, in their order, but for those that have a step of their own.
pub(super) fn of_rule(
    rule: &str,
    declared: &[Declared],
    parameters: &Parameters,
    problems: &mut Vec<Problem>,
) -> Vec<Filter> {
    let mut filters = Vec::new();
    let mut answer: Option<&str> = None;
    let mut rewrite: Option<String> = None;
    for (index, filter) in declared.iter().enumerate().filter(|(_, filter)| !has_own_step(filter.filter_type)) {
        let field = format!("{rule}.filters[{index}]");
        let mut incompatible = |what: String, remedy: &str| {
            problems.push(Problem::new(Code::IncompatibleFilters, field.as_str(), what, remedy));
        };
        if let Some(answer) = answer {
            incompatible(format!("it comes after {answer}, which answers every request"), "remove one of them");
        }
        match filter.filter_type {
            FilterType::RequestRedirect => {
                if let Some(rewrite) = &rewrite {
                    // HTTPRoute forbids it too: which of the two paths would be meant?
                    incompatible(
                        format!("a redirect does not see what {rewrite} rewrites"),
                        "put the new path into requestRedirect",
                    );
                }
                answer = Some("a RequestRedirect");
            }
            FilterType::DirectResponse => answer = Some("a DirectResponse"),
            FilterType::UrlRewrite => {
                if let Some(rewrite) = &rewrite {
                    incompatible(format!("{rewrite} rewrites already"), "use one URLRewrite");
                }
                rewrite = Some(field.clone());
            }
            FilterType::IpAccess
            | FilterType::Cors
            | FilterType::ExternalAuth
            | FilterType::RequestHeaderModifier
            | FilterType::ResponseHeaderModifier
            | FilterType::RequestMirror => {}
        }
        // Copies are made of what all filters have left, so they are no step among them.
        if filter.filter_type != FilterType::RequestMirror {
            filters.extend(Lowering { parameters, problems }.filter(&field, filter));
        }
    }
    filters
}

/// The filters of a backend, in their order: those that shape what is sent to it and what comes back.
pub(super) fn of_backend(
    backend: &str,
    declared: &[Declared],
    parameters: &Parameters,
    problems: &mut Vec<Problem>,
) -> Vec<Filter> {
    let mut filters = Vec::new();
    for (index, filter) in declared.iter().enumerate() {
        let field = format!("{backend}.filters[{index}]");
        match filter.filter_type {
            FilterType::RequestHeaderModifier | FilterType::ResponseHeaderModifier | FilterType::UrlRewrite => {
                filters.extend(Lowering { parameters, problems }.filter(&field, filter));
            }
            FilterType::IpAccess
            | FilterType::Cors
            | FilterType::ExternalAuth
            | FilterType::RequestMirror
            | FilterType::RequestRedirect
            | FilterType::DirectResponse => problems.push(unsupported::value(
                &format!("{field}.type"),
                &format!("{} on a backend", name(filter.filter_type)),
            )),
        }
    }
    filters
}

/// Whether one of them answers every request.
pub(super) fn answer(filters: &[Filter]) -> bool {
    filters.iter().any(|filter| match filter {
        Filter::Redirect(_) | Filter::Respond(_) | Filter::Refuse(_) => true,
        Filter::RequestHeaders(_) | Filter::ResponseHeaders(_) | Filter::ResponsePlaces(_) | Filter::Rewrite(_) => {
            false
        }
    })
}

impl Lowering<'_> {
    fn filter(&mut self, field: &str, declared: &Declared) -> Option<Filter> {
        if !fits(field, declared, self.problems) {
            return None;
        }
        let Declared {
            filter_type,
            ip_access: _,
            cors: _,
            external_auth: _,
            request_header_modifier,
            response_header_modifier,
            url_rewrite,
            request_mirror: _,
            request_redirect,
            direct_response,
        } = declared;
        match filter_type {
            FilterType::IpAccess | FilterType::Cors | FilterType::ExternalAuth | FilterType::RequestMirror => {
                self.problems.push(unsupported::value(&format!("{field}.type"), name(*filter_type)));
                None
            }
            FilterType::RequestHeaderModifier => {
                let rules = self.headers(&format!("{field}.requestHeaderModifier"), request_header_modifier.as_ref()?);
                Some(Filter::RequestHeaders(rules))
            }
            FilterType::ResponseHeaderModifier => {
                let rules =
                    self.headers(&format!("{field}.responseHeaderModifier"), response_header_modifier.as_ref()?);
                Some(Filter::ResponseHeaders(rules))
            }
            FilterType::UrlRewrite => self.rewrite(&format!("{field}.urlRewrite"), url_rewrite.as_ref()?),
            FilterType::RequestRedirect => {
                self.redirect(&format!("{field}.requestRedirect"), request_redirect.as_ref()?)
            }
            FilterType::DirectResponse => self.respond(&format!("{field}.directResponse"), direct_response.as_ref()?),
        }
    }

    fn headers(&mut self, field: &str, declared: &HeaderModifier) -> HeaderRules {
        let HeaderModifier { set, add, remove } = declared;
        let set = self.header_list(&format!("{field}.set"), set);
        let add = self.header_list(&format!("{field}.add"), add);
        let remove = remove.iter().enumerate().filter_map(|(index, header)| {
            let name = HeaderRules::parse_name(header);
            name.map_err(|error| self.template(format!("{field}.remove[{index}]"), &error)).ok()
        });
        HeaderRules { set, add, remove: remove.collect() }
    }

    fn header_list(&mut self, field: &str, declared: &[DeclaredHeader]) -> Box<[(HeaderName, HeaderTemplate)]> {
        let one = |(index, header): (usize, &DeclaredHeader)| {
            let DeclaredHeader { name, value } = header;
            let field = format!("{field}[{index}]");
            let name = HeaderRules::parse_name(name);
            let name = name.map_err(|error| self.template(format!("{field}.name"), &error)).ok();
            let value = self.header_value(&format!("{field}.value"), value);
            Some((name?, value?))
        };
        declared.iter().enumerate().filter_map(one).collect()
    }

    /// A value that is nothing but `:name` is the path parameter of that name; in any other, every character stands for
    /// itself.
    fn header_value(&mut self, field: &str, declared: &str) -> Option<HeaderTemplate> {
        let param = declared.strip_prefix(':').filter(|name| crate::path::is_param_name(name));
        let parsed = match param {
            Some(name) => {
                self.parameters.require(field, name, self.problems);
                HeaderTemplate::parse(&format!("{{{name}}}"), &[name])
            }
            None => HeaderTemplate::literal(declared),
        };
        parsed.map_err(|error| self.template(field.to_owned(), &error)).ok()
    }

    fn rewrite(&mut self, field: &str, declared: &UrlRewrite) -> Option<Filter> {
        let UrlRewrite { hostname, path } = declared;
        if hostname.is_none() && path.is_none() {
            self.invalid(field.to_owned(), "it has neither hostname nor path".to_owned(), "add one of them");
        }
        let hostname = match hostname {
            Some(hostname) => Some(HeaderValue::from_str(self.host(&format!("{field}.hostname"), hostname)?).ok()?),
            None => None,
        };
        let path = match path {
            Some(path) => Some(self.path(&format!("{field}.path"), path)?),
            None => None,
        };
        Some(Filter::Rewrite(Rewrite { hostname, path }))
    }

    fn redirect(&mut self, field: &str, declared: &RequestRedirect) -> Option<Filter> {
        let RequestRedirect { scheme, hostname, path, port, status_code } = declared;
        let scheme = scheme.map(|scheme| match scheme {
            RedirectScheme::Http => Scheme::HTTP,
            RedirectScheme::Https => Scheme::HTTPS,
        });
        let hostname = match hostname {
            Some(hostname) => Some(self.host(&format!("{field}.hostname"), hostname)?.into()),
            None => None,
        };
        let path = match path {
            Some(path) => Some(self.path(&format!("{field}.path"), path)?),
            None => None,
        };
        let port = match port {
            Some(port) => match u16::try_from(*port).ok().filter(|port| *port > 0) {
                Some(port) => Some(port),
                None => {
                    self.invalid(format!("{field}.port"), format!("{port} is no port"), "use 1 to 65535");
                    return None;
                }
            },
            None => None,
        };
        let Some(status) = u16::try_from(*status_code).ok().and_then(Redirect::status) else {
            let what = format!("{status_code} is no redirect");
            self.invalid(format!("{field}.statusCode"), what, "use 301, 302, 303, 307 or 308");
            return None;
        };
        Some(Filter::Redirect(Redirect { scheme, hostname, path, port, status }))
    }

    fn respond(&mut self, field: &str, declared: &DirectResponse) -> Option<Filter> {
        let DirectResponse { status_code, content_type, body } = declared;
        let status = u16::try_from(*status_code).ok().filter(|code| (200..600).contains(code));
        let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else {
            let what = format!("{status_code} is no status of an answer");
            self.invalid(format!("{field}.statusCode"), what, "use 200 to 599");
            return None;
        };
        let content_type = match content_type.as_deref().map(HeaderValue::from_str) {
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => {
                let what = "it cannot be the value of a header".to_owned();
                self.invalid(format!("{field}.contentType"), what, "write type/subtype, as in text/plain");
                return None;
            }
            None => body.as_ref().map(|_| HeaderValue::from_static("text/plain")),
        };
        let body = body.clone().unwrap_or_default().into();
        Some(Filter::Respond(filter::DirectResponse { status, content_type, body }))
    }

    fn path(&mut self, field: &str, declared: &PathModifier) -> Option<PathRewrite> {
        let PathModifier { modifier_type, replace_full_path, replace_prefix_match, replace_template } = declared;
        let (member, value) = match modifier_type {
            PathModifierType::ReplaceFullPath => ("replaceFullPath", replace_full_path),
            PathModifierType::ReplacePrefixMatch => ("replacePrefixMatch", replace_prefix_match),
            PathModifierType::ReplaceTemplate => ("replaceTemplate", replace_template),
        };
        let set = [replace_full_path, replace_prefix_match, replace_template].into_iter().flatten().count();
        let member_field = format!("{field}.{member}");
        let Some(value) = value.as_deref().filter(|_| set == 1) else {
            let what = format!("type {modifier_type:?} takes {member} and nothing else");
            self.invalid(member_field, what, "set it alone, or correct type");
            return None;
        };
        let parsed = match modifier_type {
            PathModifierType::ReplaceFullPath => PathRewrite::parse_full(value),
            PathModifierType::ReplacePrefixMatch => {
                self.parameters.require_prefix(&member_field, self.problems);
                PathRewrite::parse_prefix(value)
            }
            PathModifierType::ReplaceTemplate => {
                let used: Vec<&str> = parameters_of(value).collect();
                for name in &used {
                    self.parameters.require(&member_field, name, self.problems);
                }
                PathRewrite::parse_template(value, &used)
            }
        };
        parsed.map_err(|error| self.template(member_field, &error)).ok()
    }

    fn host<'h>(&mut self, field: &str, declared: &'h str) -> Option<&'h str> {
        match crate::table::HostKey::parse_ingress(declared) {
            Ok(crate::table::HostKey::Exact(_)) => Some(declared),
            Ok(_) => {
                self.invalid(field.to_owned(), format!("`{declared}` is not one host"), "write the whole host");
                None
            }
            Err(error) => {
                self.invalid(field.to_owned(), error.to_string(), error.remedy());
                None
            }
        }
    }

    fn template(&mut self, field: String, error: &TemplateError) {
        self.problems.push(Problem::new(Code::InvalidFilter, field, error.to_string(), error.remedy()));
    }

    fn invalid(&mut self, field: String, what: String, remedy: &str) {
        self.problems.push(Problem::new(Code::InvalidFilter, field, what, remedy));
    }
}

/// Whether the settings that are there are those of the type.
pub(super) fn fits(field: &str, declared: &Declared, problems: &mut Vec<Problem>) -> bool {
    let Declared {
        filter_type,
        ip_access,
        cors,
        external_auth,
        request_header_modifier,
        response_header_modifier,
        url_rewrite,
        request_mirror,
        request_redirect,
        direct_response,
    } = declared;
    let set = [
        (FilterType::IpAccess, "ipAccess", ip_access.is_some()),
        (FilterType::Cors, "cors", cors.is_some()),
        (FilterType::ExternalAuth, "externalAuth", external_auth.is_some()),
        (FilterType::RequestHeaderModifier, "requestHeaderModifier", request_header_modifier.is_some()),
        (FilterType::ResponseHeaderModifier, "responseHeaderModifier", response_header_modifier.is_some()),
        (FilterType::UrlRewrite, "urlRewrite", url_rewrite.is_some()),
        (FilterType::RequestMirror, "requestMirror", request_mirror.is_some()),
        (FilterType::RequestRedirect, "requestRedirect", request_redirect.is_some()),
        (FilterType::DirectResponse, "directResponse", direct_response.is_some()),
    ];
    let mut fits = true;
    for (of, member, is_set) in set {
        if is_set != (of == *filter_type) {
            fits = false;
            let what = format!("{member} must be set exactly when type is {}", name(of));
            let remedy = if is_set { "remove it, or correct type" } else { "add it, or correct type" };
            problems.push(Problem::new(Code::InvalidFilter, format!("{field}.{member}"), what, remedy));
        }
    }
    fits
}

/// The names of the parameters that a path uses, well-formed or not.
fn parameters_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix(':').or_else(|| segment.strip_prefix('*')))
}

/// The type as users write it.
pub(super) fn name(filter_type: FilterType) -> &'static str {
    match filter_type {
        FilterType::IpAccess => "IPAccess",
        FilterType::Cors => "CORS",
        FilterType::ExternalAuth => "ExternalAuth",
        FilterType::RequestHeaderModifier => "RequestHeaderModifier",
        FilterType::ResponseHeaderModifier => "ResponseHeaderModifier",
        FilterType::UrlRewrite => "URLRewrite",
        FilterType::RequestMirror => "RequestMirror",
        FilterType::RequestRedirect => "RequestRedirect",
        FilterType::DirectResponse => "DirectResponse",
    }
}

//! Steps on a request and its response.

mod access;
mod answer;
mod cors;
mod headers;
mod mirror;
mod path;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    access::{ExternalAuth, IpAccess},
    answer::{DirectResponse, RedirectScheme, RequestRedirect},
    cors::{Cors, CorsMethod},
    headers::{HeaderModifier, HeaderValue},
    mirror::RequestMirror,
    path::{PathModifier, PathModifierType, UrlRewrite},
};

/// One step. The field named like its type holds its settings; no other is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'IPAccess' ? has(self.ipAccess) : !has(self.ipAccess)")
        .message("ipAccess must be set exactly when type is IPAccess"),
    validation = Rule::new("self.type == 'CORS' ? has(self.cors) : !has(self.cors)")
        .message("cors must be set exactly when type is CORS"),
    validation = Rule::new("self.type == 'ExternalAuth' ? has(self.externalAuth) : !has(self.externalAuth)")
        .message("externalAuth must be set exactly when type is ExternalAuth"),
    validation = Rule::new(
        "self.type == 'RequestHeaderModifier' ? has(self.requestHeaderModifier) : !has(self.requestHeaderModifier)"
    )
    .message("requestHeaderModifier must be set exactly when type is RequestHeaderModifier"),
    validation = Rule::new(
        "self.type == 'ResponseHeaderModifier' ? has(self.responseHeaderModifier) : !has(self.responseHeaderModifier)"
    )
    .message("responseHeaderModifier must be set exactly when type is ResponseHeaderModifier"),
    validation = Rule::new("self.type == 'URLRewrite' ? has(self.urlRewrite) : !has(self.urlRewrite)")
        .message("urlRewrite must be set exactly when type is URLRewrite"),
    validation = Rule::new("self.type == 'RequestMirror' ? has(self.requestMirror) : !has(self.requestMirror)")
        .message("requestMirror must be set exactly when type is RequestMirror"),
    validation = Rule::new("self.type == 'RequestRedirect' ? has(self.requestRedirect) : !has(self.requestRedirect)")
        .message("requestRedirect must be set exactly when type is RequestRedirect"),
    validation = Rule::new("self.type == 'DirectResponse' ? has(self.directResponse) : !has(self.directResponse)")
        .message("directResponse must be set exactly when type is DirectResponse")
)]
pub struct Filter {
    // Settings are boxed where they are large: a filter has one of them, and there is one for every step of every rule.
    /// What the step does: IPAccess, CORS, ExternalAuth, RequestHeaderModifier, ResponseHeaderModifier, URLRewrite,
    /// RequestMirror, RequestRedirect or DirectResponse.
    #[serde(rename = "type")]
    pub filter_type: FilterType,
    /// Settings of IPAccess: which addresses of clients may pass. An address in deny is refused even if it is in allow;
    /// when allow has entries, an address outside them is refused too. Refused requests are answered 403.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_access: Option<IpAccess>,
    /// Settings of CORS: which pages of other origins may use the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Box<Cors>>,
    /// Settings of ExternalAuth: a service that is asked about every request. An answer of 2xx lets it pass; any other
    /// is given to the client. Cookies that it sets reach the client either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<Box<ExternalAuth>>,
    /// Settings of RequestHeaderModifier: headers changed on the way to the backend, first remove, then set, then add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Settings of ResponseHeaderModifier: headers changed on the way to the client, first remove, then set, then add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// Settings of URLRewrite: host and path as the backend sees them. What is omitted stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<Box<UrlRewrite>>,
    /// Settings of RequestMirror: a second backend that gets a copy. Its answers are thrown away and never delay the
    /// client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<Box<RequestMirror>>,
    /// Settings of RequestRedirect: another address the client is sent to. What is omitted stays as in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<Box<RequestRedirect>>,
    /// Settings of DirectResponse: an answer without a backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<Box<DirectResponse>>,
}

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FilterType {
    /// Lets clients in or not, by address.
    #[serde(rename = "IPAccess")]
    IpAccess,
    /// Answers preflight requests and marks responses for other origins.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks a service whether the request may pass.
    ExternalAuth,
    /// Changes headers of the request.
    RequestHeaderModifier,
    /// Changes headers of the response.
    ResponseHeaderModifier,
    /// Changes host or path of the request.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// Sends a copy of the request elsewhere.
    RequestMirror,
    /// Answers with another address.
    RequestRedirect,
    /// Answers with a fixed response.
    DirectResponse,
}

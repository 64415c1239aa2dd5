//! What a requirement comes to for a request, in words. Of what a request brings, only the place is told.

use std::fmt;

use http::HeaderMap;
use http::header;

use super::extract::{Found, Place, Sources};
use super::{BasicRequirement, Credentials, KeySource, Provider, Requirement, TokenRequirement};
use crate::filter::Title;

impl Requirement {
    /// Who is believed by what, and what a request with this head and query would be told before anything is verified.
    /// `secure` says whether it came over TLS.
    pub fn explain(&self, secure: bool, headers: &HeaderMap, query: Option<&str>) -> Vec<String> {
        let mut words = vec![self.to_string()];
        let (in_clear, outcome) = match self {
            Self::Token(token) => {
                words.extend(token.providers.iter().map(|provider| format!("  {}", provider.in_words())));
                (!token.require_tls, token.outcome(headers, query))
            }
            Self::Basic(basic) => (!basic.require_tls, basic.outcome(headers)),
        };
        words.push(match secure || in_clear {
            true => format!("  {outcome}"),
            false => "  this request comes in clear: 403".to_owned(),
        });
        words
    }
}

impl TokenRequirement {
    fn outcome(&self, headers: &HeaderMap, query: Option<&str>) -> String {
        for provider in &self.providers {
            match provider.sources.find(headers, query) {
                Found::Nothing => {}
                Found::Unclear => {
                    return format!("this request's token for {} is not a single one: 401", provider.name);
                }
                Found::Token(_, place) => {
                    return format!(
                        "this request brings a token in {place}; whether it is right is not looked at here"
                    );
                }
            }
        }
        match self.optional {
            true => "this request brings no token, and passes without".to_owned(),
            false => "this request brings no token: 401".to_owned(),
        }
    }
}

impl BasicRequirement {
    fn outcome(&self, headers: &HeaderMap) -> String {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let credentials = match (sent.next(), sent.next()) {
            (Some(one), None) => Credentials::parse(one),
            (None, _) | (Some(_), Some(_)) => None,
        };
        match credentials {
            Some(_) => {
                "this request brings a name and a password; whether they are right is not looked at here".to_owned()
            }
            None => "this request brings no name and password: 401".to_owned(),
        }
    }
}

impl Provider {
    /// `shop/shop/main: issuer https://issuer.example.com/, for shop; read from header Authorization ("Bearer ")`
    fn in_words(&self) -> String {
        let Self { name, rules, keys, sources, claim_headers: _, forward_token, fingerprint: _ } = self;
        let mut words = match &rules.issuer {
            Some(issuer) => format!("{name}: issuer {issuer}"),
            None => format!("{name}: any issuer"),
        };
        if !rules.audiences.is_empty() {
            words += &format!(", for {}", rules.audiences.join(" or "));
        }
        if let KeySource::Remote(keys) = keys {
            let known = if keys.current().is_some() { "" } else { ", which have not been fetched" };
            words += &format!(", with the keys of {}{known}", keys.settings.uri);
        }
        let passed_on = if *forward_token { ", which goes on to the backend" } else { "" };
        words + &format!("; the token is read from {sources}{passed_on}")
    }
}

impl fmt::Display for Sources {
    /// `header Authorization ("Bearer "), cookie session`, in the order in which they are looked at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { headers, cookies, params } = self;
        let headers = headers.iter().map(|(name, prefix)| match prefix.is_empty() {
            true => Place::Header(name).to_string(),
            false => format!("{} ({prefix:?})", Place::Header(name)),
        });
        let cookies = cookies.iter().map(|name| Place::Cookie(name).to_string());
        let params = params.iter().map(|name| Place::Param(name).to_string());
        f.write_str(&headers.chain(cookies).chain(params).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {}", Title(name)),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Param(name) => write!(f, "query parameter {name}"),
        }
    }
}

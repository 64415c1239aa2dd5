//! Headers that requests and responses get or lose: by a ConfigMap, and by the part of nginx's language in which snippets
//! mostly say it.

use http::HeaderName;

use super::super::gateway_route::{Scope, ValuesRef};
use super::annotations::Annotations;
use crate::api::LocalObjectKind;
use crate::filter::{Filter, HeaderRules, HeaderTemplate};
use crate::source::Object;

/// What is done to headers.
#[derive(Debug, Default)]
pub(super) struct Headers {
    request: Changes,
    response: Changes,
}

#[derive(Debug, Default)]
struct Changes {
    set: Vec<(HeaderName, HeaderTemplate)>,
    add: Vec<(HeaderName, HeaderTemplate)>,
    remove: Vec<HeaderName>,
}

impl Headers {
    /// Reads what is done to headers.
    pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Self {
        let mut headers = Self::default();
        headers.custom(scope, annotations);
        for name in ["configuration-snippet", "server-snippet"] {
            let Some(text) = annotations.take(name) else { continue };
            match snippet(text) {
                Ok(of_snippet) => headers.join(of_snippet),
                Err(directive) => {
                    let what = format!("a snippet may only change headers here, and this one has `{directive}`");
                    let remedy = "keep more_set_headers, more_clear_headers, add_header, proxy_hide_header, \
                                  proxy_set_header, more_set_input_headers and more_clear_input_headers with values that \
                                  have no variables, and declare the rest in a GatewayRoute";
                    annotations.unusable(name, what, remedy);
                }
            }
        }
        headers
    }

    /// The filters that do it.
    pub(super) fn filters(&self) -> impl Iterator<Item = Filter> {
        let request = self.request.rules().map(Filter::RequestHeaders);
        request.into_iter().chain(self.response.rules().map(Filter::ResponseHeaders))
    }

    /// Those of a ConfigMap, all of which responses get.
    fn custom(&mut self, scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) {
        const NAME: &str = "custom-headers";
        let Some((namespace, name)) = annotations.reference(NAME) else { return };
        let reference = ValuesRef { kind: LocalObjectKind::ConfigMap, namespace: namespace.as_deref(), name: &name };
        let mut problems = Vec::new();
        let object = scope.values("", reference, &mut problems);
        annotations.tell(NAME, problems);
        let Some(object) = object else { return };
        let entry = scope.lookup.entry(object.clone());
        let Some(Object::ConfigMap(map)) = entry.and_then(|entry| entry.object.as_ref()) else {
            annotations.unusable(NAME, format!("{object} does not exist"), "create it, or correct the name");
            return;
        };
        for (name, value) in map.data.iter().flatten() {
            match header(name, value) {
                Some(header) => self.response.set.push(header),
                None => {
                    let what = format!("{name} of {object} is no header, or not a route's to change");
                    annotations.unusable(NAME, what, "use letters, digits and -, and a value of visible characters");
                }
            }
        }
    }

    fn join(&mut self, other: Self) {
        for (mine, theirs) in [(&mut self.request, other.request), (&mut self.response, other.response)] {
            mine.set.extend(theirs.set);
            mine.add.extend(theirs.add);
            mine.remove.extend(theirs.remove);
        }
    }
}

impl Changes {
    fn rules(&self) -> Option<HeaderRules> {
        let Self { set, add, remove } = self;
        if set.is_empty() && add.is_empty() && remove.is_empty() {
            return None;
        }
        Some(HeaderRules { set: set.clone().into(), add: add.clone().into(), remove: remove.clone().into() })
    }

    /// `more_set_headers "Name: value"`; without a value the header goes.
    fn line(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        self.set(name.trim(), value.trim())
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        if value.is_empty() {
            return self.remove(name);
        }
        self.set.push(header(name, value)?);
        Some(())
    }

    fn add(&mut self, name: &str, value: &str) -> Option<()> {
        self.add.push(header(name, value)?);
        Some(())
    }

    fn remove(&mut self, name: &str) -> Option<()> {
        self.remove.push(HeaderRules::parse_name(name).ok()?);
        Some(())
    }
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderTemplate)> {
    let name = HeaderRules::parse_name(name).ok()?;
    Some((name, HeaderTemplate::literal(value).ok()?))
}

/// What a snippet does, or the first directive in it that is not about headers alone: one that was left out could be
/// what keeps somebody out.
fn snippet(text: &str) -> Result<Headers, String> {
    let mut headers = Headers::default();
    for words in directives(text)? {
        let Headers { request, response } = &mut headers;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = match &words[..] {
            _ if words.iter().any(|word| word.contains('$')) => None,
            ["more_set_headers", lines @ ..] => lines.iter().try_for_each(|line| response.line(line)),
            ["more_clear_headers", names @ ..] => names.iter().try_for_each(|name| response.remove(name)),
            ["proxy_hide_header", name] => response.remove(name),
            ["add_header", name, value] | ["add_header", name, value, "always"] => response.add(name, value),
            ["proxy_set_header", name, value] => request.set(name, value),
            ["more_set_input_headers", lines @ ..] => lines.iter().try_for_each(|line| request.line(line)),
            ["more_clear_input_headers", names @ ..] => names.iter().try_for_each(|name| request.remove(name)),
            _ => None,
        };
        done.ok_or_else(|| words.join(" "))?;
    }
    Ok(headers)
}

/// The words of each directive (<https://nginx.org/en/docs/beginners_guide.html#conf_structure>); an error for a block
/// and for one without an end.
fn directives(text: &str) -> Result<Vec<Vec<String>>, String> {
    let (mut directives, mut words) = (Vec::new(), Vec::new());
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
                continue;
            }
            ';' => {
                directives.push(std::mem::take(&mut words));
                rest = rest.get(1..).unwrap_or_default().trim_start();
                continue;
            }
            '"' | '\'' => {
                let inner = rest.get(1..).unwrap_or_default();
                let (word, after) = inner.split_once(first).ok_or_else(|| words.join(" "))?;
                if word.contains('\\') {
                    return Err(words.join(" "));
                }
                (word, after)
            }
            _ => rest.split_at(rest.find(|next: char| next.is_whitespace() || next == ';').unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        if first != '"' && first != '\'' && word.contains(['{', '}']) {
            return Err(words.join(" "));
        }
        rest = after.trim_start();
    }
    if words.is_empty() { Ok(directives) } else { Err(words.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_snippets_do_to_headers() {
        let said = |text: &str| {
            snippet(text)
                .map(|headers| headers.filters().map(|filter| filter.to_string()).collect::<Vec<_>>().join(" | "))
        };
        for (text, expected) in [
            ("more_set_headers \"X-Frame-Options: DENY\";", Ok("ResponseHeaderModifier: set X-Frame-Options: DENY")),
            ("more_set_headers 'A: 1' \"B: {x}\";", Ok("ResponseHeaderModifier: set A: 1; set B: {x}")),
            (
                "more_set_headers \"Server: \";\n more_clear_headers X-A X-B;",
                Ok("ResponseHeaderModifier: remove Server; remove X-A; remove X-B"),
            ),
            ("add_header X-Robots-Tag none always; # why\n", Ok("ResponseHeaderModifier: add X-Robots-Tag: none")),
            (
                "proxy_set_header X-Tenant blue;\nproxy_set_header Accept-Encoding \"\";",
                Ok("RequestHeaderModifier: remove Accept-Encoding; set X-Tenant: blue"),
            ),
            ("", Ok("")),
            ("proxy_set_header X-Url $request_uri;", Err("proxy_set_header X-Url $request_uri")),
            ("proxy_set_header Host inside;", Err("proxy_set_header Host inside")),
            ("deny all;", Err("deny all")),
            ("if ($http_x) { return 403; }", Err("if ($http_x) {")),
            ("more_set_headers \"A: 1\"", Err("more_set_headers A: 1")),
            ("more_set_headers \"A: 1", Err("more_set_headers")),
            ("location /x {", Err("location /x {")),
        ] {
            assert_eq!(said(text).as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}

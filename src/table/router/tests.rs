use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::table::sample::{self, entry, path};
use crate::table::{HeaderMatch, HostKey, Listeners, QueryMatch, Table, ValueMatch, Verdict};

/// Parameters by name.
type Values = Vec<(String, String)>;

/// The rule that takes a GET, by its path, with the parameters and the length of the prefix.
fn found(declared: &[&str], request: &str) -> Option<(String, Values, usize)> {
    let router = HostRouter::new(declared.iter().map(|text| entry(path(text))).collect());
    let headers = HeaderMap::new();
    let found = router.find(&sample::get(request, &headers))?;
    let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some((found.route.id.name.to_string(), params, found.prefix))
}

#[track_caller]
fn goes_to(declared: &[&str], request: &str, expected: Option<&str>) {
    let name = found(declared, request).map(|(name, ..)| name);
    assert_eq!(name.as_deref(), expected, "{request}");
}

/// The table of the Ingress documentation ("Examples"), row by row.
#[test]
fn ingress_paths_match_as_documented() {
    for (declared, requests) in [
        (&["Prefix /"][..], &[("/", Some("PathPrefix /")), ("/any/path/", Some("PathPrefix /"))][..]),
        (&["Exact /foo"], &[("/foo", Some("Exact /foo")), ("/bar", None), ("/foo/", None), ("/FOO", None)]),
        (&["Exact /foo/"], &[("/foo", None), ("/foo/", Some("Exact /foo/"))]),
        (&["Prefix /foo"], &[("/foo", Some("PathPrefix /foo")), ("/foo/", Some("PathPrefix /foo")), ("/FOO", None)]),
        (&["Prefix /foo/"], &[("/foo", Some("PathPrefix /foo")), ("/foo/", Some("PathPrefix /foo"))]),
        (&["Prefix /aaa/bb"], &[("/aaa/bbb", None)]),
        (
            &["Prefix /aaa/bbb"],
            &[
                ("/aaa/bbb", Some("PathPrefix /aaa/bbb")),
                ("/aaa/bbb/", Some("PathPrefix /aaa/bbb")),
                ("/aaa/bbb/ccc", Some("PathPrefix /aaa/bbb")),
                ("/aaa/bbbxyz", None),
            ],
        ),
        (
            &["Prefix /aaa/bbb/"],
            &[("/aaa/bbb", Some("PathPrefix /aaa/bbb")), ("/aaa/bbb/", Some("PathPrefix /aaa/bbb"))],
        ),
        (&["Prefix /", "Prefix /aaa"], &[("/aaa/ccc", Some("PathPrefix /aaa")), ("/aaaccc", Some("PathPrefix /"))]),
        (
            &["Prefix /", "Prefix /aaa", "Prefix /aaa/bbb"],
            &[("/aaa/bbb", Some("PathPrefix /aaa/bbb")), ("/ccc", Some("PathPrefix /"))],
        ),
        (&["Prefix /aaa"], &[("/ccc", None)]),
        (&["Prefix /aaa", "Fallback"], &[("/ccc", Some("any other path")), ("/aaa", Some("PathPrefix /aaa"))]),
        (&["Prefix /foo", "Exact /foo"], &[("/foo", Some("Exact /foo")), ("/foo/", Some("PathPrefix /foo"))]),
    ] {
        for (request, expected) in requests {
            goes_to(declared, request, *expected);
        }
    }
}

#[test]
fn templates_take_segments_and_the_rest() {
    let param = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (declared, request, expected) in [
        ("Template /orders/:id", "/orders/42", Some(vec![param("id", "42")])),
        ("Template /orders/:id", "/orders/", None),
        ("Template /orders/:id", "/orders", None),
        ("Template /orders/:id", "/orders/42/", None),
        ("Template /orders/:id", "/orders/42/items", None),
        ("Template /orders/:id/", "/orders/42/", Some(vec![param("id", "42")])),
        ("Template /orders/:id/", "/orders/42", None),
        ("Template /:a/x/:b", "/1/x/%20y", Some(vec![param("a", "1"), param("b", "%20y")])),
        ("Template /a/*rest", "/a/", Some(vec![param("rest", "")])),
        ("Template /a/*rest", "/a/b/c", Some(vec![param("rest", "b/c")])),
        ("Template /a/*rest", "/a/b/c/", Some(vec![param("rest", "b/c/")])),
        ("Template /a/*rest", "/a", None),
        ("Template /a/*rest", "/ab", None),
        ("Template /*rest", "/", Some(vec![param("rest", "")])),
        ("Template /:a/*rest", "/x/y", Some(vec![param("a", "x"), param("rest", "y")])),
        ("Template /:a/*rest", "/x", None),
        (
            "Template /:a/:b/:c/:d/:e/:f/:g/*h",
            "/1/2/3/4/5/6/7/8/9",
            Some(
                [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("f", "6"), ("g", "7"), ("h", "8/9")]
                    .map(|(a, b)| param(a, b))
                    .to_vec(),
            ),
        ),
    ] {
        let expected = expected.map(|params| (declared.to_owned(), params, 0));
        assert_eq!(found(&[declared], request), expected, "{declared} {request}");
    }
}

/// CONTRACT: "segment by segment from the left, literal before `:name` before the end of a prefix or `*rest`".
#[test]
fn the_more_specific_path_wins_and_a_dead_end_tracks_back() {
    let orders = ["Template /orders/:id", "Template /orders/new", "Prefix /orders", "Template /:kind/:id/items"];
    goes_to(&orders, "/orders/new", Some("Exact /orders/new"));
    goes_to(&orders, "/orders/42", Some("Template /orders/:id"));
    goes_to(&orders, "/orders/42/items", Some("PathPrefix /orders"));
    goes_to(&orders, "/carts/42/items", Some("Template /:kind/:id/items"));
    let crossing = ["Template /a/b/:x", "Template /a/:y/c", "Template /:z/b/d"];
    goes_to(&crossing, "/a/b/c", Some("Template /a/b/:x"));
    goes_to(&crossing, "/a/x/c", Some("Template /a/:y/c"));
    goes_to(&crossing, "/a/x/d", None);
    let back = ["Template /a/b/c/:x", "Template /:z/b/c/d/e"];
    assert_eq!(
        found(&back, "/a/b/c/d/e"),
        Some(("Template /:z/b/c/d/e".into(), vec![("z".into(), "a".into())], 0)),
        "the value that the dead end bound is gone"
    );
    let expressions = ["RegularExpression ^/(beta|labs)/", "Prefix /beta/x", "RegularExpression abs"];
    goes_to(&expressions, "/beta/x", Some("PathPrefix /beta/x"));
    goes_to(&expressions, "/beta/y", Some("RegularExpression ^/(beta|labs)/"));
    goes_to(&expressions, "/x/abs", Some("RegularExpression abs"));
}

#[test]
fn a_prefix_says_how_much_of_the_path_it_covers() {
    assert_eq!(found(&["Prefix /caf%c3%a9/"], "/caf%C3%A9/x").map(|(.., prefix)| prefix), Some(10));
    assert_eq!(found(&["Prefix /"], "/x").map(|(.., prefix)| prefix), Some(0));
}

/// A route that does not answer on the request's listener is passed over like one whose headers do not match.
#[test]
fn listeners_are_a_condition() {
    let mut secure = entry(path("Exact /a"));
    secure.route = Arc::new(Route { listeners: Listeners { http: false, https: true }, ..sample::route("secure") });
    let router = HostRouter::new(vec![secure, entry(path("Prefix /"))]);
    let headers = HeaderMap::new();
    let clear = sample::get("/a", &headers);
    let name = |head| router.find(&head).map(|found| found.route.id.name.to_string());
    assert_eq!(name(clear).as_deref(), Some("PathPrefix /"));
    assert_eq!(name(RequestHead { secure: true, ..clear }).as_deref(), Some("secure"));
}

/// One declared match, of which the naive search makes its own reading.
#[derive(Clone, Debug)]
struct Declared {
    kind: &'static str,
    text: String,
    method: Option<Method>,
    header: Option<bool>,
    query: Option<bool>,
    secure: bool,
    created: i64,
    /// An expression beside the path.
    found: Option<&'static str>,
}

fn declared() -> impl Strategy<Value = Declared> {
    let path = prop_oneof![
        3 => "(/(a|b)){1,3}/?".prop_map(|text| ("Exact", text)),
        3 => "(/(a|b)){0,3}/?".prop_filter("a path", |text| !text.is_empty()).prop_map(|text| ("Prefix", text)),
        6 => "(/(a|b|:)){0,3}(/|/\\*r)?".prop_filter("a path", |text| !text.is_empty()).prop_map(|text| {
            let mut number = 0;
            let named = text.split('/').map(|segment| {
                number += 1;
                if segment == ":" { format!(":p{number}") } else { segment.to_owned() }
            });
            ("Template", named.collect::<Vec<_>>().join("/"))
        }),
        1 => prop::sample::select(vec!["a/b", "^/a", "b$"]).prop_map(|text| ("RegularExpression", text.to_owned())),
        1 => Just(("Fallback", String::new())),
    ];
    let method = prop::option::weighted(0.3, prop::sample::select(vec![Method::GET, Method::POST]));
    let value = || prop::option::weighted(0.3, any::<bool>());
    let found = prop::option::weighted(0.2, prop::sample::select(vec!["b$", "^/a", "a/b"]));
    (path, method, value(), value(), prop::bool::weighted(0.9), 0..3i64, found).prop_map(
        |((kind, text), method, header, query, secure, created, found)| Declared {
            kind,
            text,
            method,
            header,
            query,
            secure,
            created,
            found,
        },
    )
}

impl Declared {
    fn entry(&self, number: u32) -> Entry {
        let exact = |is: bool| ValueMatch::Exact(is.to_string().into());
        let headers = self.header.map(|is| HeaderMatch { name: HeaderName::from_static("x"), value: exact(is) });
        let queries = self.query.map(|is| QueryMatch { name: "q".into(), value: exact(is) });
        let name = number.to_string();
        Entry {
            path: path(format!("{} {}", self.kind, self.text).trim()),
            matcher: Matcher {
                path: self.found.map(|found| Box::new(regex::Regex::new(found).unwrap())),
                method: self.method.clone(),
                headers: headers.into_iter().collect(),
                queries: queries.into_iter().collect(),
            },
            precedence: Precedence { rule: number, ..sample::precedence(self.created, "x") },
            route: Arc::new(Route { listeners: Listeners { http: self.secure, https: true }, ..sample::route(&name) }),
        }
    }

    /// How the path matches, segment by segment, the better the lesser; with the parameters. `None` if it does not.
    fn trace(&self, request: &str) -> Option<(Vec<u8>, Values)> {
        const EXACT: u8 = 0;
        const LITERAL: u8 = 1;
        const PARAM: u8 = 2;
        const END: u8 = 3;
        const SPAN: u8 = 4;
        const EXPRESSION: u8 = 5;
        const FALLBACK: u8 = 6;
        let segments: Vec<&str> = request[1..].split('/').collect();
        let wanted: Vec<&str> = self.text.get(1..).unwrap_or_default().split('/').collect();
        let is_template = self.text.contains([':', '*']);
        match self.kind {
            "Exact" => (self.text == request).then(|| (vec![EXACT], vec![])),
            "Template" if !is_template => (self.text == request).then(|| (vec![EXACT], vec![])),
            "Prefix" => {
                let wanted: Vec<&str> = wanted.into_iter().filter(|segment| !segment.is_empty()).collect();
                let trace = wanted.iter().map(|_| LITERAL).chain([SPAN]).collect();
                segments.starts_with(&wanted).then(|| (trace, vec![]))
            }
            "Template" => {
                let mut trace = Vec::new();
                let mut params = Vec::new();
                for (number, want) in wanted.iter().enumerate() {
                    if let Some(name) = want.strip_prefix('*') {
                        trace.push(SPAN);
                        params
                            .push((name.to_owned(), segments.get(number..).filter(|rest| !rest.is_empty())?.join("/")));
                        return Some((trace, params));
                    }
                    let segment = *segments.get(number)?;
                    match want.strip_prefix(':') {
                        Some(name) if !segment.is_empty() => {
                            trace.push(PARAM);
                            params.push((name.to_owned(), segment.to_owned()));
                        }
                        None if *want == segment => trace.push(LITERAL),
                        _ => return None,
                    }
                }
                trace.push(END);
                (segments.len() == wanted.len()).then_some((trace, params))
            }
            "RegularExpression" => is_found(&self.text, request).then(|| (vec![EXPRESSION], vec![])),
            _ => Some((vec![FALLBACK], vec![])),
        }
    }
}

fn is_found(expression: &str, path: &str) -> bool {
    match expression {
        "^/a" => path.starts_with("/a"),
        "b$" => path.ends_with('b'),
        text => path.contains(text),
    }
}

/// The winner's number and its parameters, by looking at every match.
fn naive(all: &[Declared], path: &str, get: bool, header: bool, query: bool, secure: bool) -> Option<(usize, Values)> {
    all.iter()
        .enumerate()
        .filter(|(_, one)| one.method.as_ref().is_none_or(|method| (*method == Method::GET) == get))
        .filter(|(_, one)| one.header.is_none_or(|is| is == header) && one.query.is_none_or(|is| is == query))
        .filter(|(_, one)| secure || one.secure)
        .filter(|(_, one)| one.found.is_none_or(|expression| is_found(expression, path)))
        .filter_map(|(number, one)| {
            let (trace, params) = one.trace(path)?;
            let longest = Reverse(one.found.map_or(0, str::len));
            let others = (one.method.is_none(), one.header.is_none(), one.query.is_none());
            Some(((trace, longest, others, one.created, number), params))
        })
        .min()
        .map(|((.., number), params)| (number, params))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_trie_agrees_with_a_search_through_all(
        all in prop::collection::vec(declared(), 0..16),
        request in "(/(a|b|c)){0,4}/?",
        flags: [bool; 4],
    ) {
        let request = if request.is_empty() { "/" } else { &request };
        let [get, header, query, secure] = flags;
        let expected = naive(&all, request, get, header, query, secure);

        let router = Arc::new(HostRouter::new((0..).zip(&all).map(|(number, one)| one.entry(number)).collect()));
        let mut headers = HeaderMap::new();
        headers.insert("x", HeaderValue::from_static(if header { "true" } else { "false" }));
        let head = RequestHead {
            method: if get { &Method::GET } else { &Method::POST },
            path: request,
            query: Some(if query { "q=true" } else { "q=false" }),
            headers: &headers,
            secure,
        };
        let found = router.find(&head);
        let params = |found: &Match<'_, '_>| found.params.iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect::<Vec<_>>();
        let number = |found: &Match<'_, '_>| found.route.id.name.parse::<usize>().unwrap();
        let is_found = expected.is_some();
        prop_assert_eq!(found.as_ref().map(|found| (number(found), params(found))), expected);

        // The explanation tells the same story: the winner, no match before it, and reasons for all others.
        let mut table = Table::default();
        table.hosts = table.hosts.with([(HostKey::Any, Some(Arc::clone(&router)))]);
        let explanation = table.explain("x", &head);
        let won = explanation.candidates.iter().position(|candidate| candidate.verdict == Verdict::Won);
        prop_assert_eq!(won.is_some(), is_found);
        prop_assert_eq!(won, router.search(&head).map(|(number, _)| number));
        for (number, candidate) in explanation.candidates.iter().enumerate() {
            match &candidate.verdict {
                Verdict::Won => {}
                Verdict::Lost { why } => prop_assert!(why.contains("wanted") || why.contains("listener"), "{}", why),
                Verdict::NotReached { .. } => prop_assert!(Some(number) > won),
            }
        }
    }
}

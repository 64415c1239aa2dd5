use proptest::prelude::*;

use super::*;
use crate::filter::Filter;
use crate::filter::sample::with_request;

fn name(text: &str) -> HeaderName {
    HeaderRules::parse_name(text).unwrap()
}

fn value(text: &str) -> HeaderTemplate {
    HeaderTemplate::parse(text, &["id", "rest"]).unwrap()
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn rules() -> HeaderRules {
    HeaderRules {
        set: [(name("X-Set"), value("only")), (name("X-Both"), value("set"))].into(),
        add: [(name("X-Add"), value("more")), (name("X-Both"), value("added"))].into(),
        remove: [name("X-Remove"), name("X-Both")].into(),
    }
}

#[test]
fn headers_are_removed_then_set_then_added() {
    let before = [("x-set", "a"), ("x-set", "b"), ("x-add", "a"), ("x-remove", "a"), ("x-both", "a"), ("x-other", "a")];
    let after = [
        ("x-set", "only"),
        ("x-add", "a"),
        ("x-add", "more"),
        ("x-both", "set"),
        ("x-both", "added"),
        ("x-other", "a"),
    ];
    let (changed, _) = with_request("Prefix /", "/", None, |parts, matched| {
        *parts.headers = headers(&before);
        Filter::ResponseHeaders(rules()).on_request(parts, matched);
        assert_eq!(*parts.headers, headers(&before), "a response's rules leave the request alone");
        Filter::RequestHeaders(rules()).on_request(parts, matched);
        let request = parts.headers.clone();
        let mut response = headers(&before);
        Filter::RequestHeaders(rules()).on_response(&mut response, matched);
        assert_eq!(response, headers(&before), "and the other way round");
        Filter::ResponseHeaders(rules()).on_response(&mut response, matched);
        [request, response]
    });
    assert_eq!(changed, [headers(&after), headers(&after)]);
}

#[test]
fn values_take_path_parameters() {
    for (declared, made, shown) in [
        ("prod", "prod", "prod"),
        ("", "", ""),
        ("order-{id}", "order-4%202", "order-{id}"),
        ("{id}{rest}", "4%202a/b", "{id}{rest}"),
        ("{{id}} {id}}}", "{id} 4%202}", "{{id}} {id}}}"),
        ("{{}}", "{}", "{}"),
        (r#"{{"a":"{id}"}}"#, r#"{"a":"4%202"}"#, r#"{{"a":"{id}"}}"#),
    ] {
        let template = value(declared);
        let (text, _) =
            with_request("Template /:id/*rest", "/4%202/a/b", None, |_, matched| template.render(&matched.params));
        assert_eq!(text, made, "{declared}");
        assert_eq!(template.to_string(), shown, "{declared}");
    }
}

#[test]
fn what_is_wrong_with_a_header_is_said_with_what_would_be_right() {
    let brace = "write `{name}` for a parameter, `{{` and `}}` for braces";
    for (declared, wrong, right) in [
        ("{", "`{` has a brace that does not enclose a parameter's name", brace),
        ("a}", "`a}` has a brace that does not enclose a parameter's name", brace),
        ("{}", "`{}` has a brace that does not enclose a parameter's name", brace),
        ("{id", "`{id` has a brace that does not enclose a parameter's name", brace),
        ("{a b}", "`{a b}` has a brace that does not enclose a parameter's name", brace),
        (
            "{other}",
            "the parameter `other` is not in every path of the rule",
            "use one of `id`, or declare it in every match",
        ),
        ("a\r\nb: c", "`a\\r\\nb: c` cannot be the value of a header", "use visible ASCII characters and spaces only"),
    ] {
        let error = HeaderTemplate::parse(declared, &["id"]).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.remedy().as_str()), (wrong, right));
    }
    for (declared, wrong, right) in [
        ("X Y", "`X Y` is not the name of a header", "use letters, digits and hyphens"),
        ("Host", "the header `host` is not a route's to change", "use a URLRewrite filter with hostname"),
        (
            "Transfer-Encoding",
            "the header `transfer-encoding` is not a route's to change",
            "leave it out; it is set as the message needs it",
        ),
    ] {
        let error = HeaderRules::parse_name(declared).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.remedy().as_str()), (wrong, right));
    }
}

proptest! {
    /// No declared text makes a second header line: it is used literally or refused.
    #[test]
    fn a_value_is_literal_or_refused(declared: String) {
        let Ok(template) = HeaderTemplate::parse(&declared, &[]) else { return Ok(()) };
        let (value, _) = with_request("Prefix /", "/", None, |_, matched| template.render(&matched.params));
        let literal = declared.replace("{{", "{").replace("}}", "}");
        prop_assert_eq!(value.as_bytes(), literal.as_bytes());
        prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}

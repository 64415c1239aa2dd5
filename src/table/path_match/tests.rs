use super::*;
use crate::table::sample::path;

#[test]
fn declared_paths_are_spelt_as_requests_are() {
    for (declared, text) in [
        ("Exact /caf%c3%a9", "Exact /caf%C3%A9"),
        ("Exact /café", "Exact /caf%C3%A9"),
        ("Exact /%7Euser/", "Exact /~user/"),
        ("Prefix /", "PathPrefix /"),
        ("Prefix /foo/", "PathPrefix /foo"),
        ("Template /orders/:id", "Template /orders/:id"),
        ("Template /é/:id/*rest", "Template /%C3%A9/:id/*rest"),
        ("Template /a/:id/", "Template /a/:id/"),
        ("Template /literal/only", "Exact /literal/only"),
        ("Template /a:b/c*d", "Exact /a:b/c*d"),
        ("RegularExpression ^/a", "RegularExpression ^/a"),
        ("Fallback", "any other path"),
    ] {
        assert_eq!(path(declared).to_string(), text);
    }
    assert_eq!(path("Template /:a/x/:b_2/*_").params(), ["a", "b_2", "_"].map(Box::<str>::from));
    assert!(path("Prefix /a").is_prefix() && !path("Exact /a").is_prefix());
}

#[test]
fn what_is_wrong_with_a_path_is_said_with_what_would_be_right() {
    for (declared, wrong, right) in [
        ("foo", "`foo` does not begin with `/`", "write `/foo`"),
        ("", "`` does not begin with `/`", "write `/`"),
        (
            "/a//b",
            "`/a//b` has an empty segment (`//`)",
            "write a single slash; requests have theirs merged before matching",
        ),
        (
            "/a/../b",
            "`/a/../b` has a dot segment",
            "write the path without `.` and `..`; requests have theirs resolved before matching",
        ),
        (
            "/a/%2e",
            "`/a/%2e` has a dot segment",
            "write the path without `.` and `..`; requests have theirs resolved before matching",
        ),
        ("/a?b=c", "`/a?b=c` has a `?`", "write the path alone and put the query into queryParams"),
        ("/a#b", "`/a#b` has a `#`", "write `%23` if the character is meant"),
        ("/a b", "`/a b` has the character ' '", "write `%20`"),
        ("/a\nb", "`/a\\nb` has the character '\\n'", "write `%0A`"),
        (
            "/a%2Fb",
            "`/a%2Fb` cannot match: the path has an encoded slash, and a request with such a path is refused",
            "write `/`, or leave the path out",
        ),
        (
            "/100%",
            "`/100%` cannot match: the path has a `%` that is not followed by two hexadecimal digits, and a request with \
             such a path is refused",
            "write `%25` for a percent sign",
        ),
        (
            "/a\\b",
            "`/a\\b` cannot match: the path has a backslash, and a request with such a path is refused",
            "leave that part out of the path",
        ),
        ("/a/:", "the segment `:` is a parameter without a name", "name it, for example `:id`"),
        ("/a/*", "the segment `*` is a parameter without a name", "name it, for example `*rest`"),
        (
            "/:order-id",
            "`order-id` is not a name for a parameter",
            "begin with a letter or `_` and go on with letters, digits and `_`; a parameter is a whole segment",
        ),
        (
            "/:1st",
            "`1st` is not a name for a parameter",
            "begin with a letter or `_` and go on with letters, digits and `_`; a parameter is a whole segment",
        ),
        ("/:a/:a", "the parameter `a` is declared twice", "give every parameter a name of its own"),
        ("/:a/*a", "the parameter `a` is declared twice", "give every parameter a name of its own"),
        (
            "/*rest/b",
            "`*rest` takes the rest of the path, but something follows it",
            "end the path with `*rest`, or take single segments with `:rest`",
        ),
        (
            "/*rest/",
            "`*rest` takes the rest of the path, but something follows it",
            "end the path with `*rest`, or take single segments with `:rest`",
        ),
        ("/:a/:b/:c/:d/:e/:f/:g/:h/*i", "the template has 9 parameters", "use at most 8, or end with `*rest`"),
    ] {
        let error = PathMatch::parse_template(declared).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.remedy().as_str()), (wrong, right), "{declared}");
    }
    assert!(PathMatch::parse_template("/:a/:b/:c/:d/:e/:f/:g/*h").is_ok());
    for parse in [PathMatch::parse_exact, PathMatch::parse_prefix] {
        assert_eq!(parse("/a/./b").unwrap_err(), PathMatchError::DotSegment("/a/./b".into()));
        assert!(parse("/:a/*/b").is_ok(), "only a template has parameters");
    }
    let error = PathMatch::parse_regular_expression("^/a(b").unwrap_err();
    assert_eq!(error.to_string(), "the regular expression does not compile: unclosed group");
    let error = PathMatch::parse_regular_expression("(a{1000}){1000}").unwrap_err();
    assert_eq!(error.to_string(), "the regular expression does not compile: it compiles to more than 1 MiB");
}

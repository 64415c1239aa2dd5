use std::fmt::Write as _;

use serde_json::json;

use super::*;

fn texts(text: &str) -> Vec<(&str, usize)> {
    split(text, Format::Yaml).unwrap().into_iter().map(|document| (document.text, document.offset)).collect()
}

fn only(text: &str) -> Result<Option<Value>, Fault> {
    let documents = split(text, Format::Yaml)?;
    assert_eq!(documents.len(), 1, "{text}");
    documents[0].value()
}

fn fault(text: &str) -> (String, Option<(usize, usize)>) {
    let Fault { message, position } = only(text).unwrap_err();
    (message, position.map(|Position { line, column }| (line, column)))
}

#[test]
fn splits_at_markers_and_nowhere_else() {
    for (text, expected) in [
        ("", vec![]),
        ("# only a comment\n---\n\n---\n# another\n", vec![]),
        ("a: 1\n", vec![("a: 1\n", 0)]),
        ("a: 1", vec![("a: 1", 0)]),
        ("---\na: 1\n---\nb: 2\n", vec![("---\na: 1\n", 0), ("---\nb: 2\n", 2)]),
        ("a: 1\n---\nb: 2", vec![("a: 1\n", 0), ("---\nb: 2", 1)]),
        ("# first\n---\na: 1\n", vec![("# first\n---\na: 1\n", 0)]),
        (
            "%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n",
            vec![("%YAML 1.2\n---\na: 1\n", 0), ("%YAML 1.2\n---\nb: 2\n", 4)],
        ),
        ("--- {a: 1}\n--- # b\nb: 2\n", vec![("--- {a: 1}\n", 0), ("--- # b\nb: 2\n", 1)]),
        // Neither is a marker: one is longer, one is indented.
        ("a: |\n  ---\n----: 1\n", vec![("a: |\n  ---\n----: 1\n", 0)]),
        ("\u{feff}a: 1\n", vec![("a: 1\n", 0)]),
        ("a: 1\r\n---\r\nb: 2\r\n", vec![("a: 1\r\n", 0), ("---\r\nb: 2\r\n", 1)]),
    ] {
        assert_eq!(texts(text), expected, "{text:?}");
    }
}

#[test]
fn reads_every_kind_of_value() {
    let text = "a: {b: [1, -2, 1.5, true, null, 'x', \"y\"]}\nc: |\n  d\n8080: port\n";
    let expected = json!({"a": {"b": [1, -2, 1.5, true, null, "x", "y"]}, "c": "d\n", "8080": "port"});
    assert_eq!(only(text).unwrap(), Some(expected));
    assert_eq!(only("--- null\n").unwrap(), None);
}

#[test]
fn resolves_aliases_and_merge_keys() {
    let text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: {<<: [*b, {z: 4, x: 9}]}\nsame: *b\n";
    let expected = json!({
        "base": {"x": 1, "y": 2},
        "more": {"x": 1, "y": 3},
        "list": {"x": 1, "y": 2, "z": 4},
        "same": {"x": 1, "y": 2},
    });
    assert_eq!(only(text).unwrap(), Some(expected));
}

#[test]
fn says_where_the_text_is_wrong() {
    for (text, message, position) in [
        ("a: [1, 2\nb: 3\n", "did not find expected ',' or ']'", Some((2, 2))),
        ("---\na: 1\n---\nb: 1\nb: 2\n", "the key \"b\" is written twice in one mapping", Some((4, 1))),
        ("a: !secret x\n", "tags such as `!name` are not supported", Some((1, 4))),
        ("a: .nan\n", "infinity and NaN are not supported", Some((1, 4))),
        ("- a\n", "this document is no object", Some((1, 1))),
        ("\n# note\napiVers", "this document is no object", Some((3, 1))),
    ] {
        let documents = split(text, Format::Yaml).unwrap();
        let Fault { message: found, position: at } = documents.last().unwrap().value().unwrap_err();
        assert!(found.contains(message), "{text:?}: {found}");
        assert!(!found.contains("at line"), "{found}");
        assert_eq!(at.map(|at| (at.line, at.column)), position, "{text:?}: {found}");
    }
}

#[test]
fn takes_positions_out_of_messages() {
    for (message, expected) in [
        ("bad at line 3 column 5, while parsing a mapping at line 1 column 2", "bad, while parsing a mapping"),
        ("bad at line 3 column 5", "bad"),
        ("look at line noise", "look at line noise"),
        ("none", "none"),
    ] {
        assert_eq!(without_positions(message), expected);
    }
}

#[test]
fn reads_json() {
    let text = "{\n\t\"a\": 1\n}\n";
    let documents = split(text, Format::Json).unwrap();
    assert_eq!(documents[0].value().unwrap(), Some(json!({"a": 1})));
    let wrong = split("{\n  \"a\": 1,\n}\n", Format::Json).unwrap();
    assert_eq!(wrong[0].value().unwrap_err().position, Some(Position { line: 3, column: 1 }));
    let two = split("{} {}", Format::Json).unwrap();
    assert!(two[0].value().is_err());
}

/// Each level repeats the one before nine times: 9^9 nodes from under 1 KiB.
fn billion_laughs() -> String {
    let mut text = String::from("a0: &a0 [lol, lol, lol]\n");
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", [before.as_str(); 9].join(", "));
    }
    text
}

#[test]
fn refuses_a_billion_laughs() {
    let (message, _) = fault(&billion_laughs());
    assert!(message.contains("aliases repeat too much"), "{message}");
}

/// One large text repeated often: few aliases, so the parser's own limit on following them does not bite.
#[test]
fn refuses_a_large_text_repeated_often() {
    let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(500_000), ["*a"; 1_000].join(", "));
    let (message, _) = fault(&text);
    assert!(message.contains("aliases repeat too much"), "{message}");
}

/// The allowance is for repetition only: whatever fits into a document without aliases fits into it.
#[test]
fn allows_the_densest_document_without_aliases() {
    let mut text = String::from("a: [");
    while text.len() < MAX_BYTES - 2 {
        text.push_str("1,");
    }
    text.push(']');
    assert!(only(&text).is_ok());
    let long = format!("a: \"{}\"\n", "x".repeat(MAX_BYTES - 10));
    assert!(only(&long).is_ok());
}

#[test]
fn refuses_what_nests_too_deep() {
    let deep = |levels: usize| format!("a: {}{}\n", "[".repeat(levels), "]".repeat(levels));
    assert!(only(&deep(60)).is_ok());
    let (message, position) = fault(&deep(100));
    assert!(message.contains("nests deeper than 64"), "{message}");
    assert_eq!(position, Some((1, 67)));
    // Far beyond any limit of the parser itself: it must neither overflow the stack nor take for ever. Brackets do not
    // count where they are closed, nor does a bracket more or less in a text.
    assert!(only(&format!("a: [{}]\nb: 'x[[[{{'\n", "[], ".repeat(MAX_OPEN * 2))).is_ok());
    assert!(only(&"[".repeat(MAX_BYTES)).is_err());
    assert!(only(&"- ".repeat(MAX_BYTES / 2)).is_err());
    assert!(only(&"{a: ".repeat(MAX_BYTES / 4)).is_err());
    assert!(only(&"? ".repeat(MAX_BYTES / 2)).is_err());
    assert!(split(&"[".repeat(MAX_BYTES), Format::Json).is_err());
    assert!(split(&"[".repeat(200), Format::Json).unwrap()[0].value().is_err());
}

#[test]
fn refuses_what_is_too_large_or_too_much() {
    let large = format!("a: 1\n---\na: \"{}\"\n", "x".repeat(MAX_BYTES));
    let Fault { message, position } = split(&large, Format::Yaml).unwrap_err();
    assert!(message.contains("a document may have at most 1048576"), "{message}");
    assert_eq!(position, Some(Position { line: 3, column: 1 }));
    let many = "---\na: 1\n".repeat(MAX_COUNT + 1);
    assert!(split(&many, Format::Yaml).unwrap_err().message.contains("at most 1000"));
    assert_eq!(split(&"---\na: 1\n".repeat(MAX_COUNT), Format::Yaml).unwrap().len(), MAX_COUNT);
}

#[test]
fn locates_fields() {
    let text = "\
# head
a: 1
---
apiVersion: v1 # 4
metadata:
  name: x
  annotations:
    example.com/a.b: 'yes'
spec:
  rules:
  - host: a.example
    http:
      paths:
      - path: /a
      - path: /b
        backend: {service: {name: s, port: {number: 80}}}
  - host: b.example
";
    let documents = split(text, Format::Yaml).unwrap();
    for (field, line, column) in [
        ("", 4, 1),
        ("apiVersion", 4, 13),
        ("metadata.name", 6, 9),
        ("metadata.annotations.example.com/a.b", 8, 22),
        ("metadata.annotations[example.com/a.b]", 8, 22),
        // A list or mapping is met at its key.
        ("spec", 9, 1),
        ("spec.rules", 10, 3),
        ("spec.rules[1]", 17, 5),
        ("spec.rules[1].host", 17, 11),
        ("spec.rules[0].http.paths[1].path", 15, 15),
        ("spec.rules[0].http.paths[1].backend.service.port.number", 16, 53),
        ("spec.rules[0].http.paths[1].backend.service.port", 16, 38),
        // What is not there is met at what should hold it.
        ("spec.rules[1].http.paths[0]", 17, 5),
        ("spec.rules[7].host", 11, 3),
        ("spec.tls", 10, 3),
        ("metadata.name.x", 6, 9),
    ] {
        assert_eq!(documents[1].locate(field), Position { line, column }, "{field}");
    }
    let json = split("{\n  \"spec\": {\n    \"port\": 80\n  }\n}\n", Format::Json).unwrap();
    assert_eq!(json[0].locate("spec.port"), Position { line: 3, column: 13 });
}

//! `docs/reference.md`: every flag of every command, and every field of our kinds, as the program itself knows them.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use clap::{Arg, CommandFactory as _};
use serde::Deserialize as _;
use serde_json::Value;

use super::Cli;
use crate::api::crds_yaml;

const HEAD: &str = "# Reference\n\nGenerated from the program: `UPDATE_GOLDEN=1 cargo test --lib reference` writes it \
                    anew. A flag can also be\n\
                    given as its environment variable, where it has one; the flag wins. Values of the chart \
                    are in `charts/headgate/README.md`.\n";

/// `UPDATE_GOLDEN=1 cargo test --lib reference` rewrites the file.
#[test]
fn reference_on_disk_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let text = reference();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let on_disk = fs::read_to_string(&path).unwrap_or_default();
    assert!(on_disk == text, "docs/reference.md is stale: run UPDATE_GOLDEN=1 cargo test --lib reference");
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        write!(text, "\n## headgate {}\n\n{}\n", command.get_name(), sentence(&about)).unwrap();
        let arguments: Vec<_> = command
            .get_arguments()
            .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
            .collect();
        if !arguments.is_empty() {
            text += "\n| flag | variable | default | |\n| --- | --- | --- | --- |\n";
            for argument in arguments {
                text += &row(argument);
            }
        }
    }
    for (_, yaml) in crds_yaml() {
        let crd = Value::deserialize(serde_yaml::Deserializer::from_str(&yaml)).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        write!(text, "\n## {kind}\n\n{}\n\n| field | type | |\n| --- | --- | --- |\n", described(schema)).unwrap();
        fields(&schema["properties"]["spec"], "spec", &mut text);
    }
    text
}

fn row(argument: &Arg) -> String {
    let name = match (argument.get_long(), argument.get_value_names()) {
        (Some(long), Some([value, ..])) if argument.get_action().takes_values() => format!("--{long} {value}"),
        (Some(long), _) => format!("--{long}"),
        (None, Some([value, ..])) => (*value).to_string(),
        (None, _) => argument.get_id().to_string(),
    };
    let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if argument.get_action().takes_values() && !defaults.is_empty() {
        format!("`{}`", defaults.join(","))
    } else {
        String::new()
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `{name}` | {variable} | {default} | {} |\n", cell(&sentence(&help)))
}

/// Every field below, one line each, by the path that one would write.
fn fields(schema: &Value, path: &str, text: &mut String) {
    let schema = if schema["items"].is_object() { &schema["items"] } else { schema };
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, field) in properties {
        let list = if field["items"].is_object() { "[]" } else { "" };
        let here = format!("{path}.{name}{list}");
        writeln!(text, "| `{here}` | {} | {} |", kind(field), cell(&described(field))).unwrap();
        fields(field, &here, text);
    }
}

fn kind(field: &Value) -> String {
    let inner = if field["items"].is_object() { &field["items"] } else { field };
    match (&inner["enum"], inner["type"].as_str()) {
        (Value::Array(values), _) => {
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
        }
        (_, Some(kind)) => kind.to_owned(),
        (_, None) => "any".to_owned(),
    }
}

fn described(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with(['.', ']', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// One line, whose bars are no columns.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

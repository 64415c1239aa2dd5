//! Log lines: one per event, to standard error, for people on a terminal and as JSON otherwise.

use std::env::{self, VarError};
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Where the level is asked for, the first that is set.
const VARIABLES: [&str; 2] = ["HEADGATE_LOG", "RUST_LOG"];
/// What is logged unless asked otherwise.
const DEFAULT: &str = "info";

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Time, level, message, then `key=value`; in colour on a terminal.
    Human,
    /// One object a line.
    Json,
}

/// Sets up logging for the whole process. Without a format, lines are for people if they go to a terminal.
///
/// What `HEADGATE_LOG` or `RUST_LOG` asks for and does not exist is told in the first line, and `info` is logged. A
/// second call changes nothing.
pub fn start(format: Option<Format>) {
    let (filter, wrong) = filter(|variable| env::var(variable));
    let terminal = io::stderr().is_terminal();
    // https://no-color.org: present and not empty, whatever it says.
    let color = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let format = format.unwrap_or(if terminal { Format::Human } else { Format::Json });
    let set_up = tracing_subscriber::registry().with(lines(format, color, io::stderr)).with(filter).try_init();
    if let (Ok(()), Some(wrong)) = (set_up, wrong) {
        tracing::warn!("{wrong}");
    }
}

/// What is asked for; and what is wrong with it, in which case it is the default.
fn filter(variable: impl Fn(&str) -> Result<String, VarError>) -> (EnvFilter, Option<String>) {
    for name in VARIABLES {
        let wrong = match variable(name) {
            Err(VarError::NotPresent) => continue,
            Ok(asked) if asked.trim().is_empty() => continue,
            Ok(asked) => match EnvFilter::builder().parse(&asked) {
                Ok(filter) => return (filter, None),
                Err(error) => format!("`{asked}` is no log level: {error}"),
            },
            Err(VarError::NotUnicode(value)) => format!("{} is not UTF-8", value.display()),
        };
        let wrong = format!("{name}: {wrong}; write `{DEFAULT}`, which is what is logged now, or `{DEFAULT},headgate::proxy=debug`");
        return (EnvFilter::new(DEFAULT), Some(wrong));
    }
    (EnvFilter::new(DEFAULT), None)
}

fn lines<S, W>(format: Format, color: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        // Where in the code a line comes from says nothing to those who run us.
        Format::Human => lines.with_ansi(color).with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Buffer {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    fn written(format: Format, color: bool, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let subscriber =
            tracing_subscriber::registry().with(lines(format, color, buffer.clone())).with(EnvFilter::new("info"));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_for_people_has_the_message_first() {
        let line = written(Format::Human, false, || {
            tracing::info!(generation = 42, "published");
            tracing::debug!("too much");
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        assert_eq!(rest.trim_start(), "INFO published generation=42\n");
    }

    #[test]
    fn a_line_of_json_is_one_flat_object() {
        let line = written(Format::Json, true, || tracing::warn!(kind = "Ingress", "line\nbreak \u{1b}[31m"));
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["level"], &object["message"], &object["kind"]),
            (&"WARN".into(), &"line\nbreak \u{1b}[31m".into(), &"Ingress".into())
        );
    }

    #[test]
    fn our_variable_comes_before_the_common_one() {
        let with = |ours: Option<&str>, common: Option<&str>| {
            let (filter, wrong) = filter(|variable| {
                let value = if variable == "HEADGATE_LOG" { ours } else { common };
                value.map(str::to_owned).ok_or(VarError::NotPresent)
            });
            (filter.to_string(), wrong)
        };
        assert_eq!(with(None, None), ("info".to_owned(), None));
        assert_eq!(with(Some("warn"), Some("debug")), ("warn".to_owned(), None));
        assert_eq!(with(Some(""), Some("error")), ("error".to_owned(), None));
        let (filter, wrong) = with(Some("info,headgate=loud"), Some("error"));
        assert_eq!(filter, "info");
        let wrong = wrong.unwrap();
        assert!(wrong.starts_with("HEADGATE_LOG: `info,headgate=loud` is no log level"), "{wrong}");
    }
}

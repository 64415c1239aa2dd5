//! Log lines: one per event, to standard error, for people on a terminal and as JSON otherwise.

mod queue;

use std::env::{self, VarError};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use queue::Queue;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

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

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("{variable}: {error}; write a level such as `info`, or `info,headgate::proxy=debug`")]
    Level {
        /// The variable that asks for it.
        variable: &'static str,
        /// What is wrong with it.
        error: ParseError,
    },
    /// The level is not even text.
    #[error("{variable} is not UTF-8: {value:?}")]
    NotText {
        /// The variable that asks for it.
        variable: &'static str,
        /// What it holds.
        value: OsString,
    },
    /// There is no thread for it.
    #[error("no thread for log lines: {0}")]
    Thread(#[from] io::Error),
    /// It has been set up before.
    #[error("logging is set up already: {0}")]
    Again(#[from] TryInitError),
}

/// Sets up logging for the whole process. Without a format, lines are for people if they go to a terminal.
///
/// # Errors
/// When `HEADGATE_LOG` or `RUST_LOG` asks for something that does not exist, and when it is called twice.
pub fn init(format: Option<Format>) -> Result<(), LogError> {
    let filter = filter(|variable| env::var(variable))?;
    let terminal = io::stderr().is_terminal();
    // https://no-color.org: present and not empty, whatever it says.
    let color = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let format = format.unwrap_or(if terminal { Format::Human } else { Format::Json });
    let (filter, handle) = reload::Layer::new(filter);
    let queue = Queue::to(io::stderr())?;
    tracing_subscriber::registry().with(lines(format, color, queue.clone())).with(filter).try_init()?;
    // The line above has succeeded, which it does once.
    let _ = (LEVEL.set(handle), QUEUE.set(queue));
    Ok(())
}

/// Waits for the last lines, and not for ever; for the end of the process.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// The way of lines, for [`finish`].
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The hand on what is logged. Logging belongs to the process, and so does this.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Boxed>> = OnceLock::new();

/// What the filter filters.
type Boxed = tracing_subscriber::layer::Layered<Box<dyn Layer<Registry> + Send + Sync>, Registry>;

/// What is logged now.
pub fn level() -> String {
    LEVEL.get().and_then(|handle| handle.with_current(ToString::to_string).ok()).unwrap_or_default()
}

/// The most that this build can log: what is finer is not compiled in.
pub fn most() -> LevelFilter {
    tracing::level_filters::STATIC_MAX_LEVEL
}

/// Changes what is logged, while running.
///
/// # Errors
/// What is wrong with the level, and what would be right.
pub fn set_level(asked: &str) -> Result<(), String> {
    let advice = "write a level such as `info`, or `info,headgate::proxy=debug`";
    if asked.is_empty() {
        return Err(format!("the body is empty; {advice}"));
    }
    let filter = EnvFilter::builder().parse(asked).map_err(|error| format!("{error}; {advice}"))?;
    let handle = LEVEL.get().ok_or("logging has not been set up")?;
    handle.reload(filter).map_err(|error| error.to_string())?;
    tracing::info!(level = asked, "log level changed");
    Ok(())
}

fn filter(variable: impl Fn(&str) -> Result<String, VarError>) -> Result<EnvFilter, LogError> {
    for name in VARIABLES {
        match variable(name) {
            Ok(asked) if asked.trim().is_empty() => {}
            Ok(asked) => {
                return EnvFilter::builder().parse(asked).map_err(|error| LogError::Level { variable: name, error });
            }
            Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(value)) => return Err(LogError::NotText { variable: name, value }),
        }
    }
    Ok(EnvFilter::new(DEFAULT))
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

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
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
            filter(|variable| {
                let value = if variable == "HEADGATE_LOG" { ours } else { common };
                value.map(str::to_owned).ok_or(VarError::NotPresent)
            })
            .map(|filter| filter.to_string())
            .map_err(|error| error.to_string())
        };
        assert_eq!(with(None, None), Ok("info".into()));
        assert_eq!(with(Some("warn"), Some("debug")), Ok("warn".into()));
        assert_eq!(with(Some(""), Some("error")), Ok("error".into()));
        let error = with(Some("info,headgate=loud"), None).unwrap_err();
        assert!(error.starts_with("HEADGATE_LOG: ") && error.contains("write a level"), "{error}");
    }
}

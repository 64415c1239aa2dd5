//! Where spans go and which: the flag, and OpenTelemetry's own variables.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::{Propagators, Sampler};

/// How traces are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The URL that batches are sent to.
    pub(super) endpoint: Uri,
    pub(super) protocol: Protocol,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// How long one batch may take.
    pub(super) timeout: Duration,
    pub(super) sampler: Sampler,
    pub(super) propagators: Propagators,
    pub(super) resource: Resource,
    /// How long a batch waits to be full.
    pub(super) delay: Duration,
    /// Exchanges that may wait.
    pub(super) queue: usize,
    /// Exchanges in one batch.
    pub(super) batch: usize,
}

/// How batches are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// Who says all this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    service: String,
    more: Vec<(String, String)>,
}

/// Why something set makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: `{value}` {why}")]
pub struct SettingError {
    name: String,
    value: String,
    why: &'static str,
}

impl Resource {
    /// All that is said of it.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = [("service.name", self.service.as_str()), ("service.version", env!("CARGO_PKG_VERSION"))];
        own.into_iter().chain(self.more.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// The variables as they are set, empty ones aside.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The variable for traces, or else the one for everything.
    fn exporter(&self, name: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
            .into_iter()
            .find_map(|name| Some((self.get(&name)?, name)))
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, SettingError> {
        match self.get(name) {
            Some(value) => value.parse().map_err(|_| wrong(name, &value, "is no whole number")),
            None => Ok(default),
        }
    }
}

fn wrong(name: &str, value: &str, why: &'static str) -> SettingError {
    SettingError { name: name.to_owned(), value: value.to_owned(), why }
}

impl Setting {
    /// What the flag `--otlp-endpoint` and the environment ask for; none when neither names an endpoint.
    ///
    /// # Errors
    /// When something that is set makes no sense.
    pub fn read(
        flag: Option<&str>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingError> {
        let variables = Variables(environment);
        let off = variables.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variables.get("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let (base, name) = match (flag, variables.exporter("ENDPOINT")) {
            (Some(flag), _) => (flag.to_owned(), "--otlp-endpoint".to_owned()),
            (None, Some(variable)) if !off => variable,
            (None, _) => return Ok(None),
        };
        let protocol = match variables.exporter("PROTOCOL") {
            None => Protocol::Http,
            Some((value, name)) => match value.as_str() {
                "grpc" => Protocol::Grpc,
                "http/protobuf" => Protocol::Http,
                _ => return Err(wrong(&name, &value, "is not spoken; write grpc or http/protobuf")),
            },
        };
        let endpoint = endpoint(&base, &name, protocol)?;
        let mut headers = Vec::new();
        if let Some((value, name)) = variables.exporter("HEADERS") {
            for (key, text) in
                pairs(&value).ok_or_else(|| wrong(&name, "…", "is no list such as key=value,key=value"))?
            {
                let header = (HeaderName::try_from(key), HeaderValue::try_from(text));
                let (Ok(key), Ok(mut text)) = header else {
                    return Err(wrong(&name, "…", "holds what is no header"));
                };
                text.set_sensitive(true);
                headers.push((key, text));
            }
        }
        let timeout = match variables.exporter("TIMEOUT") {
            Some((value, name)) => value
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| wrong(&name, &value, "is no time in milliseconds"))?,
            None => Duration::from_secs(10),
        };
        let mut more = match variables.get("OTEL_RESOURCE_ATTRIBUTES") {
            Some(value) => pairs(&value)
                .ok_or_else(|| wrong("OTEL_RESOURCE_ATTRIBUTES", &value, "is no list such as key=value,key=value"))?,
            None => Vec::new(),
        };
        let named = more.iter().position(|(key, _)| key == "service.name").map(|at| more.swap_remove(at).1);
        let service = variables.get("OTEL_SERVICE_NAME").or(named).unwrap_or_else(|| "headgate".to_owned());
        let positive = |number: u64| usize::try_from(number.max(1)).unwrap_or(usize::MAX);
        Ok(Some(Self {
            endpoint,
            protocol,
            headers,
            timeout,
            sampler: sampler(&variables)?,
            propagators: propagators(&variables)?,
            resource: Resource { service, more },
            delay: Duration::from_millis(variables.number("OTEL_BSP_SCHEDULE_DELAY", 5000)?),
            queue: positive(variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?),
            batch: positive(variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?),
        }))
    }
}

/// The URL that batches go to. A variable for traces says all of it, any other only where the collector is (OTLP
/// exporter specification, "Endpoint URLs for OTLP/HTTP").
fn endpoint(base: &str, name: &str, protocol: Protocol) -> Result<Uri, SettingError> {
    let wrong = || wrong(name, base, "is no URL such as http://collector:4318");
    let url: Uri = base.parse().map_err(|_| wrong())?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
        return Err(wrong());
    }
    let path = match protocol {
        Protocol::Grpc => "/opentelemetry.proto.collector.trace.v1.TraceService/Export".to_owned(),
        Protocol::Http if name.ends_with("_TRACES_ENDPOINT") => url.path().to_owned(),
        Protocol::Http => format!("{}/v1/traces", url.path().trim_end_matches('/')),
    };
    let mut parts = url.into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| wrong())?);
    Uri::from_parts(parts).map_err(|_| wrong())
}

/// OpenTelemetry's samplers by their names.
fn sampler(variables: &Variables<'_>) -> Result<Sampler, SettingError> {
    let name = variables.get("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (parent_based, kind) = match name.strip_prefix("parentbased_") {
        Some(kind) => (true, kind),
        None => (false, name.as_str()),
    };
    let share = match kind {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            match variables.get("OTEL_TRACES_SAMPLER_ARG") {
                None => 1.0,
                Some(value) => value.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| {
                    wrong("OTEL_TRACES_SAMPLER_ARG", &value, "is no share; write a number from 0 to 1")
                })?,
            }
        }
        _ => {
            let why = "is no sampler; write always_on, always_off or traceidratio, or one of them after parentbased_";
            return Err(wrong("OTEL_TRACES_SAMPLER", &name, why));
        }
    };
    Ok(Sampler::new(parent_based, share))
}

/// OpenTelemetry's propagators by their names.
fn propagators(variables: &Variables<'_>) -> Result<Propagators, SettingError> {
    let Some(names) = variables.get("OTEL_PROPAGATORS") else { return Ok(Propagators::default()) };
    let why = "names what is not known; write tracecontext, baggage, b3, b3multi or none, separated by commas";
    Propagators::parse(&names).ok_or_else(|| wrong("OTEL_PROPAGATORS", &names, why))
}

/// `key=value,key=value`, with percent-encoded values as in baggage.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then(|| (key.to_owned(), decoded(value.trim())))
        })
        .collect()
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

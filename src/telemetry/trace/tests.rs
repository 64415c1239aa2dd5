use std::collections::BTreeMap;

use super::setting::{Protocol, Setting};
use super::*;

fn read(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Setting>, String> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Setting::read(flag, &|name| variables.get(name).map(|value| (*value).to_owned())).map_err(|error| error.to_string())
}

fn endpoint(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
    read(flag, variables).unwrap().map(|setting| setting.endpoint.to_string())
}

#[test]
fn the_flag_and_the_common_variables_say_where_to() {
    let common = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:4318/ingest");
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(endpoint(None, &[]), None);
    assert_eq!(endpoint(None, &[common]).as_deref(), Some("http://collector:4318/v1/traces"));
    assert_eq!(endpoint(None, &[common, traces]).as_deref(), Some("http://other:4318/ingest"));
    assert_eq!(endpoint(Some("http://flag:1"), &[common, traces]).as_deref(), Some("http://flag:1/v1/traces"));
    let service = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(endpoint(Some("http://flag:4317"), &[grpc]), Some(format!("http://flag:4317{service}")));
    assert_eq!(endpoint(None, &[common, ("OTEL_SDK_DISABLED", "true")]), None);
    assert_eq!(endpoint(None, &[common, ("OTEL_TRACES_EXPORTER", "none")]), None);
}

#[test]
fn the_common_variables_say_how() {
    let setting = read(
        Some("https://c"),
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-scope=a"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=edge,cluster=eu%2C1"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ],
    )
    .unwrap()
    .unwrap();
    assert_eq!((setting.timeout.as_millis(), setting.delay.as_millis(), setting.protocol), (2500, 100, Protocol::Http));
    assert_eq!(setting.sampler, Sampler::new(false, 0.25));
    let attributes: Vec<_> = setting.resource.attributes().collect();
    assert!(
        attributes.contains(&("service.name", "edge")) && attributes.contains(&("cluster", "eu,1")),
        "{attributes:?}"
    );
    assert_eq!(setting.headers[0].1, "Bearer abc");
    assert!(!format!("{setting:?}").contains("abc"), "a header may be a credential");
}

#[test]
fn what_makes_no_sense_is_named() {
    for (flag, variable, says) in [
        (Some("collector:4318"), ("A", ""), "--otlp-endpoint: `collector:4318` is no URL"),
        (None, ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x"), "OTEL_EXPORTER_OTLP_ENDPOINT: `ftp://x`"),
        (Some("http://c"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), "write grpc or http/protobuf"),
        (Some("http://c"), ("OTEL_TRACES_SAMPLER", "jaeger_remote"), "write always_on"),
        (
            Some("http://c"),
            ("OTEL_PROPAGATORS", "tracecontext,xray"),
            "write tracecontext, baggage, b3, b3multi or none",
        ),
        (Some("http://c"), ("OTEL_BSP_MAX_QUEUE_SIZE", "many"), "OTEL_BSP_MAX_QUEUE_SIZE: `many` is no whole number"),
    ] {
        let error = read(flag, &[variable]).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Version;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::setting::{Plan, Setting, SettingError};
use super::*;
use crate::telemetry::Reason;

const TRIES: [Try; 2] = [
    Try { endpoint: endpoint(1), waited: Duration::from_millis(3), status: None },
    Try { endpoint: endpoint(2), waited: Duration::from_micros(9_500), status: Some(200) },
];

const fn endpoint(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 8080)
}

fn entry() -> Entry<'static> {
    Entry {
        began: 1_700_000_000_123_456,
        secure: true,
        method: "POST",
        version: Version::HTTP_2,
        host: b"shop.example.com",
        path: b"/orders/42",
        query: Some(b"page=2&token=s3cret"),
        status: 200,
        reason: Reason::Ok,
        duration: Duration::from_micros(15_250),
        upstream: Duration::from_micros(12_500),
        received: 10,
        sent: 1234,
        head: 300,
        client_ip: b"203.0.113.7",
        peer_ip: b"192.0.2.1",
        route: b"shop/shop",
        rule: b"orders",
        service: b"shop/orders:8080",
        limit: Some(Remaining { policy: b"shop/fair", limit: b"per-\"user\"", remaining: 4 }),
        subject: Some(b"ann"),
        tries: &TRIES,
        tls_version: Some("1.3"),
        sni: Some(b"shop.example.com"),
        request_id: b"id-1",
        trace: Some(TraceIds { trace: [0xab; 16], span: [1; 8] }),
        user_agent: Some(b"curl/8"),
        referer: Some(b"https://a.example/x?key=v"),
        headers: Values { text: b"a\"bs3cret", places: &[Some((0, 3)), None, Some((3, 9))] },
        wanted: None,
        plain: false,
    }
}

fn line(setting: &str, entry: &Entry<'_>) -> String {
    let Setting::On(plan) = setting.parse().unwrap() else { panic!("off") };
    let mut out = Vec::new();
    plan.encode(&mut out, entry, &mut Stamp::default());
    let text = String::from_utf8(out).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn a_line_of_json_has_every_field() {
    let shown: Value = serde_json::from_str(&line("json", &entry())).unwrap();
    assert_eq!(
        shown,
        json!({
            "time": "2023-11-14T22:13:20.123456Z", "method": "POST", "scheme": "https", "host": "shop.example.com",
            "path": "/orders/42", "query": "page=REDACTED&token=REDACTED", "protocol": "HTTP/2.0", "status": 200,
            "reason": "ok", "duration_ms": 15.25, "upstream_ms": 12.5, "overhead_us": 2750, "bytes_in": 10,
            "bytes_out": 1234, "client_ip": "203.0.113.7", "peer_ip": "192.0.2.1", "route": "shop/shop",
            "rule": "orders", "service": "shop/orders:8080", "endpoint": "10.0.0.2:8080", "attempts": 2,
            "tls_version": "1.3", "sni": "shop.example.com", "request_id": "id-1",
            "trace_id": "abababababababababababababababab", "span_id": "0101010101010101", "user_agent": "curl/8",
            "referer": "https://a.example/x?key=REDACTED", "jwt_sub": "ann",
            "ratelimit": {"policy": "shop/fair", "limit": "per-\"user\"", "remaining": 4},
        })
    );
    let bare = Entry {
        query: None,
        route: b"",
        rule: b"",
        service: b"",
        limit: None,
        subject: None,
        tries: &[],
        tls_version: None,
        sni: None,
        trace: None,
        user_agent: None,
        referer: None,
        ..entry()
    };
    let shown: Value = serde_json::from_str(&line("json", &bare)).unwrap();
    assert_eq!(shown.as_object().unwrap().len(), 15, "{shown}");
    assert_eq!(line("json,query=drop", &entry()).matches("REDACTED").count(), 0);
    assert!(line("json,query=keep", &entry()).contains("page=2&token=s3cret"));
}

#[test]
fn what_has_nothing_to_escape_is_written_the_same_without_a_look() {
    let limit = Some(Remaining { policy: b"shop/fair", limit: b"per-user", remaining: 4 });
    let headers = Values { text: b"abs3cret", places: &[Some((0, 2)), None, Some((2, 8))] };
    let looked_at = Entry { limit, headers, ..entry() };
    let known = Entry { plain: true, ..looked_at };
    for setting in ["json", "json,query=keep", "json,jwt-sub=keep,header=X-A:keep,header=X-B:keep,header=X-C:redact"] {
        assert_eq!(line(setting, &known), line(setting, &looked_at), "{setting}");
    }
    // What a client's TLS asks for is none of the texts that are known.
    let odd = Entry { sni: Some(b"a\"b"), ..known };
    assert!(line("json", &odd).contains(r#""sni":"a\"b""#));
}

#[test]
fn lines_of_text_are_those_that_parsers_know() {
    let common = r#"203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] "POST /orders/42?page=REDACTED&token=REDACTED HTTP/2.0" 200 1234 "https://a.example/x?key=REDACTED" "curl/8""#;
    assert_eq!(line("combined", &entry()), format!("{common} 0.015 10.0.0.1:8080, 10.0.0.2:8080 0.003, 0.009"));
    assert_eq!(
        line("nginx", &entry()),
        format!(
            "{common} 310 0.015 [shop-orders-8080] [] 10.0.0.1:8080, 10.0.0.2:8080 0, 1234 0.003, 0.009 502, 200 id-1"
        )
    );
    let none = Entry { tries: &[], service: b"", user_agent: None, referer: None, query: None, ..entry() };
    assert_eq!(
        line("nginx", &none),
        r#"203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] "POST /orders/42 HTTP/2.0" 200 1234 "-" "-" 310 0.015 [-] [] - - - - id-1"#
    );
    assert_eq!(line("text:{method} {{{path}}},{status} }", &entry()), "POST {/orders/42},200 }");
    assert_eq!(line("text:{referer}|{sni}|{endpoint}", &none), "-|shop.example.com|-");
    let limits = "text:{ratelimit_policy}|{ratelimit_limit}|{ratelimit_remaining}|{jwt_sub}";
    assert_eq!(line(limits, &entry()), r"shop/fair|per-\x22user\x22|4|ann");
    assert_eq!(line(limits, &Entry { limit: None, subject: None, ..entry() }), "-|-|-|-");
}

#[test]
fn who_asked_is_told_only_where_that_is_asked_for() {
    let wants = |setting: &str| {
        let Setting::On(plan) = setting.parse().unwrap() else { panic!("off") };
        plan.wants_subject()
    };
    for setting in ["json", "json,jwt-sub=drop", "combined", "nginx", "text:{route}"] {
        assert!(!wants(setting), "{setting}");
    }
    for setting in ["jwt-sub=keep", "json,jwt-sub=keep", "text:{jwt_sub}", "text:a{path}{jwt_sub}b"] {
        assert!(wants(setting), "{setting}");
    }
}

#[test]
fn headers_are_shown_as_far_as_they_are_asked_for() {
    let shown = |setting: &str| -> Value { serde_json::from_str(&line(setting, &entry())).unwrap() };
    assert_eq!(shown("json").get("headers"), None);
    let all = "json,header=X-Tenant,header=X-Absent,header=Authorization:redact,header=User-Agent:redact,\
               header=Referer:drop";
    let all = shown(all);
    assert_eq!(all["headers"], json!({"x-tenant": "a\"b", "authorization": "REDACTED"}));
    assert_eq!((&all["user_agent"], all.get("referer")), (&json!("REDACTED"), None));
    assert_eq!(shown("header=A:drop,header=B,header=b:drop").get("headers"), None);
    let none = Entry { headers: Values::default(), ..entry() };
    assert_eq!(line("json,header=X-Tenant", &none), line("json", &none));
    let template = "header=A,header=B,header=Cookie:redact,text:{header.a}|{header.b}|{header.cookie}|{user_agent}";
    assert_eq!(line(template, &entry()), r"a\x22b|-|REDACTED|curl/8");
    assert_eq!(line("text:{status} {header.x-tenant}", &entry()), r"200 a\x22b");
    assert!(line("combined,header=User-Agent:drop", &entry()).contains(r#"key=REDACTED" "-" 0.015"#));
}

#[test]
fn settings_that_mean_nothing_say_what_would() {
    assert_eq!("off".parse(), Ok(Setting::Off));
    for (wrong, says) in [
        ("yes", "`yes` means nothing"),
        ("json,combined", "second format"),
        ("json,off", "off stands alone"),
        ("status=6", "status=`6`"),
        ("status=500-400", "400-499"),
        ("min-duration=fast", "min-duration=`fast`"),
        ("sample=200%", "up to 100%"),
        ("sample=0.1", "percentage"),
        ("text:{user}", "no field `{user}`; there are time,"),
        ("text:{path", "without `}`"),
        ("text:", "empty"),
        ("header=Cookie", "header=cookie:redact"),
        ("header=proxy-authorization:keep", "carries secrets"),
        ("header=X-A:hide", "keep, redact or drop"),
        ("header=a b", "no header's name"),
        ("nginx,header=X-A", "needs json or text"),
        ("text:{header.cookie}", "carries secrets"),
        ("text:{header.}", "no field `{header.}`"),
        ("file=", "`file=` means nothing"),
        ("jwt-sub=yes", "jwt-sub=keep|drop"),
        ("jwt-sub=keep,nginx", "{jwt_sub} in a text:TEMPLATE"),
        ("", "`` means nothing"),
    ] {
        let error: SettingError = wrong.parse::<Setting>().unwrap_err();
        assert!(error.to_string().contains(says), "{wrong}: {error}");
    }
    let Ok(Setting::On(Plan { file, .. })) = "combined, file=/var/log/a.log , status=5xx".parse() else { panic!() };
    assert_eq!(file.as_deref(), Some(std::path::Path::new("/var/log/a.log")));
}

#[test]
fn filters_choose_what_is_logged() {
    let wants = |setting: &str, entry: Entry<'_>| {
        let Setting::On(plan) = setting.parse().unwrap() else { panic!("off") };
        [0, u64::MAX / 2, u64::MAX].map(|random| plan.filter.wants(&entry, || random))
    };
    let ok = entry();
    let failed = Entry { status: 502, reason: Reason::UpstreamReset, ..entry() };
    let broken = Entry { reason: Reason::ClientClosed, ..entry() };
    assert_eq!(wants("json", ok), [true; 3]);
    assert_eq!(wants("status=5xx+404", ok), [false; 3]);
    assert_eq!(wants("status=5xx+404", failed), [true; 3]);
    assert_eq!(wants("status=5xx,min-duration=10ms", ok), [true; 3], "one condition is enough");
    assert_eq!(wants("status=5xx,min-duration=16ms", ok), [false; 3]);
    assert_eq!(wants("min-duration=16ms", failed), [false; 3]);
    assert_eq!(wants("sample=0.1%", ok), [true, false, false]);
    assert_eq!((wants("sample=0%", ok), wants("sample=100%", ok)), ([false; 3], [true; 3]));
    assert_eq!((wants("sample=0%", failed), wants("sample=0%", broken)), ([true; 3], [true; 3]));
    assert_eq!(wants("json", Entry { wanted: Some(false), ..failed }), [false; 3]);
    assert_eq!(wants("status=5xx,sample=0%", Entry { wanted: Some(true), ..ok }), [true; 3]);
}

#[test]
fn lines_arrive_in_order_and_the_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let setting = format!("file={},text:{{status}}", path.display());
    let Ok(Setting::On(plan)) = setting.parse() else { panic!("off") };
    let dropped = Arc::new(AtomicU64::new(0));
    let (log, writing) = AccessLog::open(plan, dropped.clone()).unwrap();
    let worker = log.worker();
    for status in 100..110 {
        worker.record(&Entry { status, ..entry() }, || 0);
    }
    worker.flush();
    let moved = folder.path().join("access.log.1");
    // What was flushed before the move is in the moved file, wherever the writer was meanwhile.
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    worker.record(&Entry { status: 200, ..entry() }, || 0);
    drop((worker, log));
    writing.finish();
    let lines: Vec<u16> = std::fs::read_to_string(moved).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines, (100..110).collect::<Vec<_>>());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "200\n");
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn what_cannot_be_written_is_counted_and_nobody_waits() {
    // Every write to it fails for want of room.
    let Ok(Setting::On(plan)) = "json,file=/dev/full".parse() else { panic!("off") };
    let dropped = Arc::new(AtomicU64::new(0));
    let (log, writing) = AccessLog::open(plan, dropped.clone()).unwrap();
    let worker = log.worker();
    for _ in 0..1000 {
        worker.record(&entry(), || 0);
    }
    drop((worker, log));
    writing.finish();
    assert_eq!(dropped.load(Ordering::Relaxed), 1000);
}

proptest! {
    #[test]
    fn whatever_is_sent_each_line_parses(
        host: Vec<u8>, path: Vec<u8>, query: Option<Vec<u8>>, agent: Option<Vec<u8>>, id: Vec<u8>, keep: bool,
    ) {
        let entry = Entry {
            host: &host,
            path: &path,
            query: query.as_deref(),
            user_agent: agent.as_deref(),
            referer: query.as_deref(),
            sni: Some(&host),
            request_id: &id,
            ..entry()
        };
        let text = line(if keep { "json,query=keep" } else { "json" }, &entry);
        prop_assert!(!text.chars().any(char::is_control));
        let shown: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(shown["path"].as_str().unwrap(), String::from_utf8_lossy(&path));
        for format in ["combined", "nginx"] {
            let text = line(format, &entry);
            prop_assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(text.matches('"').count(), 6);
        }
    }
}

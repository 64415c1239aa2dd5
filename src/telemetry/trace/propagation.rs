//! Which headers carry a trace from one process to the next: W3C Trace Context, and B3 in one header or in several where
//! that is asked for (<https://github.com/openzipkin/b3-propagation>).

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::telemetry::{TraceIds, hexadecimal};

/// Names the trace that a request belongs to (W3C Trace Context 3.2).
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// The same in B3.
const B3: HeaderName = HeaderName::from_static("b3");
/// The same in several headers.
const X_B3_TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const X_B3_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const X_B3_PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const X_B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
/// Says `1` where a trace is to be recorded whatever anybody thinks.
const X_B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// `00-`, 32 digits, `-`, 16 digits, `-01`.
const LENGTH: usize = 55;
/// Where the trace and the span are in that: together, as B3 has them too, and each by itself.
const IDS: Range<usize> = 3..52;
const TRACE: Range<usize> = 3..35;
const SPAN: Range<usize> = 36..52;

/// What a caller says of the trace that its request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The trace and the caller's span; B3 can do without.
    pub ids: Option<TraceIds>,
    /// Whether it records; none leaves it to us.
    pub recorded: Option<bool>,
}

/// The headers that are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagators {
    w3c: bool,
    b3: bool,
    b3_multi: bool,
}

impl Default for Propagators {
    fn default() -> Self {
        Self { w3c: true, b3: false, b3_multi: false }
    }
}

impl Propagators {
    /// OpenTelemetry's names of them, separated by commas; none when one is not known.
    pub(super) fn parse(names: &str) -> Option<Self> {
        let mut known = Self { w3c: false, b3: false, b3_multi: false };
        for name in names.split(',').map(str::trim) {
            match name {
                "tracecontext" => known.w3c = true,
                "b3" => known.b3 = true,
                "b3multi" => known.b3_multi = true,
                // Goes on as it came.
                "baggage" | "none" | "" => {}
                _ => return None,
            }
        }
        Some(known)
    }

    /// What the caller says. Who says it in several ways is believed in W3C's, then in B3's one header; which of B3's ways
    /// is asked for only says how it is written.
    pub fn read(self, headers: &HeaderMap) -> Caller {
        let w3c = || {
            let (ids, flags) = TraceIds::parse(only(headers, TRACE_PARENT)?)?;
            Some(Caller { ids: Some(ids), recorded: Some(flags & 1 == 1) })
        };
        let b3 = || only(headers, B3).and_then(parse_b3).or_else(|| parse_b3_multi(headers));
        self.w3c.then(w3c).flatten().or_else(|| (self.b3 || self.b3_multi).then(b3).flatten()).unwrap_or_default()
    }

    /// Tells whoever is asked next of its place in the trace.
    pub fn write(
        self,
        headers: &mut HeaderMap,
        ids: TraceIds,
        recorded: bool,
        mut value: impl FnMut(&[u8]) -> HeaderValue,
    ) {
        let text = text(ids, recorded);
        if self.w3c {
            headers.insert(TRACE_PARENT, value(&text));
        }
        if self.b3 {
            let mut b3 = text.get(IDS).unwrap_or_default().to_vec();
            b3.extend([b'-', b'0' + u8::from(recorded)]);
            headers.insert(B3, value(&b3));
        }
        if self.b3_multi {
            headers.insert(X_B3_TRACE_ID, value(text.get(TRACE).unwrap_or_default()));
            headers.insert(X_B3_SPAN_ID, value(text.get(SPAN).unwrap_or_default()));
            headers.insert(X_B3_SAMPLED, HeaderValue::from_static(if recorded { "1" } else { "0" }));
            // These are of the span that was the caller's.
            headers.remove(X_B3_PARENT_SPAN_ID);
            headers.remove(X_B3_FLAGS);
        }
    }
}

/// A header's value, if it was sent once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

/// `TRACE-SPAN-SAMPLED-PARENT`, of which the last two may be left out, or SAMPLED alone.
fn parse_b3(value: &[u8]) -> Option<Caller> {
    if let Some(recorded) = recorded(value) {
        return Some(Caller { ids: None, recorded: Some(recorded) });
    }
    let mut parts = value.split(|byte| *byte == b'-');
    let ids = b3_ids(parts.next()?, parts.next()?)?;
    let recorded = match parts.next() {
        Some(word) => Some(recorded(word)?),
        None => None,
    };
    Some(Caller { ids: Some(ids), recorded })
}

/// Each part in a header of its own; the ids may be left out, and what is said of recording as well.
fn parse_b3_multi(headers: &HeaderMap) -> Option<Caller> {
    let recorded = match only(headers, X_B3_FLAGS) {
        Some(b"1") => Some(true),
        _ => only(headers, X_B3_SAMPLED).and_then(recorded),
    };
    let ids = only(headers, X_B3_TRACE_ID).zip(only(headers, X_B3_SPAN_ID));
    let ids = ids.and_then(|(trace, span)| b3_ids(trace, span));
    (ids.is_some() || recorded.is_some()).then_some(Caller { ids, recorded })
}

/// What B3 says of recording.
fn recorded(word: &[u8]) -> Option<bool> {
    match word {
        // Old callers write it as a word.
        b"0" | b"false" => Some(false),
        // The last means that it is to be recorded whatever anybody thinks.
        b"1" | b"true" | b"d" => Some(true),
        _ => None,
    }
}

/// The ids as B3 writes them.
fn b3_ids(trace: &[u8], span: &[u8]) -> Option<TraceIds> {
    // Half an id is the lower half.
    let trace = match hexadecimal::parse::<8>(trace) {
        Some(half) => {
            let mut whole = [0; 16];
            whole.last_chunk_mut::<8>()?.copy_from_slice(&half);
            whole
        }
        None => hexadecimal::parse(trace)?,
    };
    let ids = TraceIds { trace, span: hexadecimal::parse(span)? };
    (ids.trace != [0; 16] && ids.span != [0; 8]).then_some(ids)
}

fn text(ids: TraceIds, recorded: bool) -> [u8; LENGTH] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    for (from, id) in [(3, &ids.trace[..]), (36, &ids.span[..])] {
        let places = text.get_mut(from..).unwrap_or_default().as_chunks_mut::<8>().0;
        for (word, place) in id.as_chunks::<4>().0.iter().zip(places) {
            *place = hexadecimal::digits(u32::from_be_bytes(*word));
        }
    }
    let [.., flags] = &mut text;
    *flags += u8::from(recorded);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn ids() -> TraceIds {
        TraceIds::parse(format!("00-{TRACE}-{SPAN}-01").as_bytes()).unwrap().0
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        fields.iter().map(field).collect()
    }

    fn read(propagators: &str, fields: &[(&'static str, &str)]) -> Caller {
        Propagators::parse(propagators).unwrap().read(&headers(fields))
    }

    #[test]
    fn b3_in_one_header_as_its_page_has_it() {
        let b3 = |value: &str| read("b3", &[("b3", value)]);
        let of = |recorded| Caller { ids: Some(ids()), recorded };
        for (rest, recorded) in [
            ("", None),
            ("-1", Some(true)),
            ("-0", Some(false)),
            ("-d", Some(true)),
            ("-1-05e3ac9a4f6e3b90", Some(true)),
        ] {
            assert_eq!(b3(&format!("{TRACE}-{SPAN}{rest}")), of(recorded), "{rest}");
        }
        assert_eq!(b3("0"), Caller { ids: None, recorded: Some(false) });
        assert_eq!(b3("1"), Caller { ids: None, recorded: Some(true) });
        let half = b3(&format!("a3ce929d0e0e4736-{SPAN}-1")).ids.unwrap();
        assert_eq!((&half.trace[..8], &half.trace[8..]), (&[0; 8][..], &ids().trace[8..]));
        for nothing in ["", "2", "a3ce-1", TRACE, &format!("{TRACE}-{SPAN}-x"), &format!("{}-{SPAN}", "0".repeat(32))] {
            assert_eq!(b3(nothing), Caller::default(), "{nothing:?}");
        }
    }

    #[test]
    fn b3_in_several_headers_as_its_page_has_it() {
        let b3 = |fields: &[(&'static str, &str)]| read("b3multi", fields);
        let (trace, span) = (("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN));
        let of = |recorded| Caller { ids: Some(ids()), recorded };
        for (rest, recorded) in [
            (("x-b3-parentspanid", "05e3ac9a4f6e3b90"), None),
            (("x-b3-sampled", "1"), Some(true)),
            (("x-b3-sampled", "0"), Some(false)),
            (("x-b3-sampled", "true"), Some(true)),
            (("x-b3-flags", "1"), Some(true)),
        ] {
            assert_eq!(b3(&[trace, span, rest]), of(recorded), "{rest:?}");
        }
        assert_eq!(b3(&[("x-b3-sampled", "0")]), Caller { ids: None, recorded: Some(false) });
        for nothing in [&[trace][..], &[span], &[trace, ("x-b3-spanid", "5e3")], &[trace, trace, span]] {
            assert_eq!(b3(nothing), Caller::default(), "{nothing:?}");
        }
        // The one header says more.
        let single = format!("{TRACE}-{SPAN}-0");
        assert_eq!(b3(&[("b3", &single), ("x-b3-sampled", "1")]), of(Some(false)));
        assert_eq!(read("b3", &[trace, span]), of(None));
        assert_eq!(read("tracecontext", &[trace, span]), Caller::default());
    }

    #[test]
    fn what_is_asked_for_is_read_and_written() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let other = format!("a3ce929d0e0e4736-{SPAN}-0");
        let both = [("traceparent", parent.as_str()), ("b3", other.as_str())];
        let w3c = Caller { ids: Some(ids()), recorded: Some(true) };
        assert_eq!(read("tracecontext,baggage", &both), w3c);
        assert_eq!(read("b3, tracecontext", &both), w3c);
        assert_eq!(read("b3", &both).recorded, Some(false));
        assert_eq!(read("none", &both), Caller::default());
        assert_eq!(read("tracecontext", &[both[0], both[0]]), Caller::default());
        assert_eq!(Propagators::parse("tracecontext,xray"), None);

        let written = |propagators: &str| {
            let mut headers = headers(&[]);
            let value = |text: &[u8]| HeaderValue::from_bytes(text).unwrap();
            Propagators::parse(propagators).unwrap().write(&mut headers, ids(), true, value);
            headers
        };
        assert_eq!(written("tracecontext"), headers(&[("traceparent", &parent)]));
        assert_eq!(written("b3"), headers(&[("b3", &format!("{TRACE}-{SPAN}-1"))]));
        let several = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")];
        assert_eq!(written("b3multi"), headers(&several));
        assert_eq!(written("b3,tracecontext").len(), 2);
        assert_eq!(written("none").len(), 0);
    }
}

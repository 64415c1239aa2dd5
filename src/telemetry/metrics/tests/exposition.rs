//! A strict reader of Prometheus' text format 0.0.4, and of the rules that a scraper relies on.

use std::collections::{BTreeMap, BTreeSet};

/// What a scraper reads.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Exposition {
    pub(super) fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

pub(super) fn parse(text: &str) -> Result<Exposition, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut exposition = Exposition::default();
    let mut known = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    let mut help: Option<String> = None;
    for line in text.lines() {
        let fail = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, _)) = rest.split_once(' ') else { return fail("no help") };
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return fail("no type") };
            if help.take().as_deref() != Some(name) {
                return fail("type without help");
            }
            if !known.insert(name.to_owned()) {
                return fail("metric comes twice");
            }
            if !["counter", "gauge", "histogram"].contains(&kind) || (kind == "counter") != name.ends_with("_total") {
                return fail("type and name do not agree");
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let sample = sample(line)?;
            let Some((name, kind)) = &family else { return fail("sample without type") };
            let suffix = sample.name.strip_prefix(name.as_str());
            let expected: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !suffix.is_some_and(|suffix| expected.contains(&suffix)) {
                return fail("sample of another metric");
            }
            if kind != "gauge" && (sample.value.is_nan() || sample.value < 0.0) {
                return fail("count below zero");
            }
            if !series.insert(line.rsplit_once(' ').map(|(series, _)| series)) {
                return fail("series comes twice");
            }
            exposition.samples.push(sample);
        }
    }
    histograms(&exposition)?;
    Ok(exposition)
}

fn sample(line: &str) -> Result<Sample, String> {
    let fail = |why: &str| format!("{why}: {line}");
    let end = line.find(['{', ' ']).ok_or_else(|| fail("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err(fail("not a metric's name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, quoted) = rest.split_once("=\"").ok_or_else(|| fail("no label"))?;
            if !is_name(label) || label.contains(':') || label.starts_with("__") {
                return Err(fail("not a label's name"));
            }
            let (value, after) = unquote(quoted).ok_or_else(|| fail("label does not end"))?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(fail("label comes twice"));
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').ok_or_else(|| fail("labels do not end"))?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').and_then(|value| value.parse().ok()).ok_or_else(|| fail("no number"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// The value up to the closing quote, and what follows that.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &quoted[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            (_, char) => value.push(char),
        }
    }
}

/// The buckets of a series follow one another, grow and end with `+Inf`; the sum follows, and the count, which is that
/// of the last bucket.
fn histograms(exposition: &Exposition) -> Result<(), String> {
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    let mut series = BTreeMap::new();
    for sample in &exposition.samples {
        let fail = |why: &str| Err(format!("{why}: {sample:?}"));
        let mut labels = sample.labels.clone();
        if sample.name.ends_with("_bucket") {
            let Some(Ok(bound)) = labels.remove("le").map(|bound| bound.parse::<f64>()) else {
                return fail("bucket without bound");
            };
            match buckets.last() {
                None => series = labels,
                Some(_) if series != labels => return fail("bucket of another series"),
                Some((before, count)) if *before >= bound || *count > sample.value => {
                    return fail("buckets do not grow");
                }
                Some(_) => {}
            }
            buckets.push((bound, sample.value));
        } else if let Some((bound, count)) = buckets.last() {
            if series != labels || !bound.is_infinite() {
                return fail("no last bucket before it");
            }
            if sample.name.ends_with("_count") {
                if sample.value != *count {
                    return fail("count is not that of the last bucket");
                }
                buckets.clear();
            }
        }
    }
    if buckets.is_empty() { Ok(()) } else { Err("no count after the last bucket".to_owned()) }
}

//! Metrics with very many series, written as Prometheus' text at once: thousands of routes with a histogram each are
//! more than a hundred thousand lines, and a value of the `prometheus` crate for each would cost several times the text.

use std::fmt::Write as _;

use super::family::{Family, seconds};
use super::histogram::{Bounds, HistogramSample};

/// The lines of one metric; its head is written before its first series.
pub(super) struct Lines<const N: usize> {
    family: &'static Family<N>,
    headed: bool,
    /// The labels of the series that is being written, without brackets.
    labels: String,
    /// The ends of a histogram's lines, from their `le` labels on.
    bounds: Vec<String>,
    /// What the lines of a histogram's buckets begin with.
    beginning: String,
}

impl<const N: usize> Lines<N> {
    /// Of a metric without bounds.
    pub(super) fn new(family: &'static Family<N>) -> Self {
        Self { family, headed: false, labels: String::new(), bounds: Vec::new(), beginning: String::new() }
    }

    /// Of a histogram.
    pub(super) fn histogram<const B: usize>(family: &'static Family<N>, bounds: &Bounds<B>) -> Self {
        let bounds = bounds.iter().map(|bound| seconds(bound).to_string()).chain(["+Inf".to_owned()]);
        let bounds = bounds.map(|bound| format!("le=\"{bound}\"}} "));
        Self { bounds: bounds.collect(), ..Self::new(family) }
    }

    /// Writes a series of a counter.
    pub(super) fn count(&mut self, labels: [&str; N], count: u64, out: &mut String) {
        self.begin(labels, out);
        self.line("", out);
        whole(out, count);
    }

    /// Writes a series of a histogram.
    pub(super) fn times<const B: usize>(&mut self, labels: [&str; N], sample: &HistogramSample<B>, out: &mut String) {
        self.begin(labels, out);
        let count = sample.count();
        // What all lines of a series begin with is put together once.
        self.beginning.clear();
        for part in [self.family.name, "_bucket{", &self.labels, if self.labels.is_empty() { "" } else { "," }] {
            self.beginning.push_str(part);
        }
        for (bound, count) in self.bounds.iter().zip(sample.cumulative().chain([count])) {
            out.push_str(&self.beginning);
            out.push_str(bound);
            whole(out, count);
        }
        self.line("_sum", out);
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}", seconds(sample.sum()));
        self.line("_count", out);
        whole(out, count);
    }

    fn begin(&mut self, labels: [&str; N], out: &mut String) {
        let Family { name, kind, labels: names, help } = self.family;
        if !self.headed {
            self.headed = true;
            let kind = format!("{kind:?}").to_ascii_lowercase();
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        self.labels.clear();
        for (name, value) in names.iter().zip(labels) {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            escape(&mut self.labels, value);
            self.labels.push('"');
        }
    }

    /// Everything of a line but its value.
    fn line(&self, suffix: &str, out: &mut String) {
        out.push_str(self.family.name);
        out.push_str(suffix);
        if !self.labels.is_empty() {
            out.push('{');
            out.push_str(&self.labels);
            out.push('}');
        }
        out.push(' ');
    }
}

/// Ends a line with a number.
fn whole(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
    out.push('\n');
}

/// Appends a label's value; a name that somebody declared may hold anything.
fn escape(out: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        out.push_str(value);
        return;
    }
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(character),
        }
    }
}

//! Regular expressions as people declare them.

use regex::{Regex, RegexBuilder};

/// An expression that compiles to more would take the memory of others.
const MAX_COMPILED: usize = 1 << 20;

/// A compiled expression, or what is wrong with it. It takes time in proportion to the text that it looks at, whatever
/// it is (<https://docs.rs/regex>).
pub(crate) fn parse_expression(declared: &str) -> Result<Regex, String> {
    RegexBuilder::new(declared).size_limit(MAX_COMPILED).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it compiles to more than 1 MiB".to_owned(),
        // Its own text draws an arrow under the expression; the last line is the sentence.
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

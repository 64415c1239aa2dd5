//! Which responses of a rule are compressed.

use super::super::code::Code;
use super::super::report::Problem;
use crate::api::gateway_route::{self as declared, CompressionAlgorithm};
use crate::filter::{Coding, Compression, MediaRange};

/// Lowers what the rule declares.
pub(super) fn lower(field: &str, declared: &declared::Compression, problems: &mut Vec<Problem>) -> Compression {
    let declared::Compression { algorithms, min_size, content_types } = declared;
    let field = format!("{field}.compression");
    let mut invalid = |field: String, what: String, remedy: &str| {
        problems.push(Problem::new(Code::InvalidCompression, field, what, remedy));
    };
    if algorithms.is_empty() {
        invalid(
            format!("{field}.algorithms"),
            "there is none".to_owned(),
            "name zstd, br or gzip, or remove compression",
        );
    }
    let mut types = Vec::new();
    for (index, text) in content_types.iter().enumerate() {
        match MediaRange::parse(text) {
            Ok(range) => types.push(range),
            Err(error) => invalid(
                format!("{field}.contentTypes[{index}]"),
                format!("\"{}\": {error}", text.escape_debug()),
                "use a type such as application/json or text/*, or remove it",
            ),
        }
    }
    Compression {
        codings: algorithms.iter().copied().map(coding).collect(),
        min_size: min_size.bytes(),
        types: (!types.is_empty()).then(|| types.into()),
    }
}

fn coding(algorithm: CompressionAlgorithm) -> Coding {
    match algorithm {
        CompressionAlgorithm::Zstd => Coding::Zstd,
        CompressionAlgorithm::Br => Coding::Br,
        CompressionAlgorithm::Gzip => Coding::Gzip,
    }
}

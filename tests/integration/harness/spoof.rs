//! What a client writes that wants to be taken for the gateway.

/// The value that must not arrive.
pub(crate) const SPOOFED: &str = "spoofed-by-the-client";

/// Eight ways to write a name that a backend in the manner of CGI cannot tell apart.
pub(crate) fn spellings(name: &str) -> [String; 8] {
    let with = |between: &str| name.replace('-', between);
    let last = name.rfind('-').map_or_else(|| format!("{name}_"), |at| format!("{}_{}", &name[..at], &name[at + 1..]));
    [
        name.to_owned(),
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        with("_"),
        with("."),
        with("~"),
        last,
        with("_").to_ascii_uppercase(),
    ]
}

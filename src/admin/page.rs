//! The page at `/`: what this port answers, as links.

/// The page. It loads nothing from anywhere.
pub(super) const PAGE: &str = include_str!("page.html");

/// What a browser may do with any answer of this port: apply the page's own style, and nothing else.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

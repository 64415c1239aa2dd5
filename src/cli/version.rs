//! Which build this is.

/// The release.
pub(super) const SHORT: &str = env!("CARGO_PKG_VERSION");
/// The release, the commit when the build knew it, and what it was built for.
pub(super) const LONG: &str = concat!(
    "headgate ",
    env!("CARGO_PKG_VERSION"),
    "\ncommit ",
    env!("HEADGATE_COMMIT"),
    "\nbuilt for ",
    env!("HEADGATE_TARGET"),
    " with ",
    env!("HEADGATE_RUSTC"),
);

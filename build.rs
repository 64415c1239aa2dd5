//! Tells the program which commit, target and compiler it was built with.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-env-changed=HEADGATE_COMMIT");
    let commit = std::env::var("HEADGATE_COMMIT").ok().or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]));
    let rustc = std::env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    let target = std::env::var("TARGET").ok();
    for (name, value) in [("HEADGATE_COMMIT", commit), ("HEADGATE_RUSTC", rustc), ("HEADGATE_TARGET", target)] {
        println!("cargo:rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

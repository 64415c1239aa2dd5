//! Parses the command line, runs it, and turns the outcome into an exit code.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A process at rest takes half the memory without huge pages, and a request no more time. A kernel that does not
    // know of this has none.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    headgate::cli::main()
}

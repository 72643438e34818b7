//! The `vizard` program: see [`vizard::cli`].

use std::process::ExitCode;

/// A call is made of a few hundred short-lived allocations, many of which are
/// freed by another thread than the one that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vizard::cli::main(std::env::args_os()).into()
}

//! The `vizard` program: see [`vizard::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vizard::cli::main(std::env::args_os()).into()
}

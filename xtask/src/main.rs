//! Vizard's tasks: `cargo xtask setup|demo|test|e2e|soak|vmtest|bench|run`.
//!
//! Every task first brings about what it needs (see [`setup`]), so a fresh
//! clone on a machine with nothing but cargo can start with any of them.
//! Progress goes to standard error; standard output carries results alone.

mod bench;
mod demo;
mod imports;
mod run;
mod setup;
mod sh;
mod soak;
mod test;
mod ui;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Vizard's tasks", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need; each of them does its share by itself.
    Setup,
    /// Place masked calls in a lab and show on one screen what happened.
    #[command(
        after_help = "As root the lab is three network namespaces joined by veth, with XDP in the driver.\n\
                            Without root the same calls run on loopback, with media through plain sockets."
    )]
    Demo(demo::Options),
    /// Run every check and every tier of tests.
    Test(test::Options),
    /// Run the end-to-end tests in network namespaces (root only).
    E2e {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Let calls start, move, hold and end at random for minutes, media running (root only).
    Soak(soak::Options),
    /// Run the packet tests and masked calls on Debian's 6.1 kernel, in an emulated machine.
    Vmtest(vm::Options),
    /// Measure: ns per packet, or masked calls per second.
    Bench(bench::Options),
    /// Build an optimised vizard and run it: `cargo xtask run -- --config configs/demo.toml`.
    Run {
        /// Passed on to `vizard run`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Setup => setup::everything(),
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::E2e { filter } => test::end_to_end(filter.as_deref()),
        Task::Soak(options) => soak::run(&options),
        Task::Vmtest(options) => vm::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Run { arguments } => run::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}

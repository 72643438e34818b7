//! Progress on standard error: one line per step, coloured on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

use anyhow::Result;

/// Announces a task or a part of it.
pub(crate) fn heading(text: &str) {
    eprintln!("{}", paint("1", text));
}

/// Tells of something that runs for a while.
pub(crate) fn busy(name: &str, what: &str) {
    line("34", "..", name, what);
}

/// Tells of something that is as it should be.
pub(crate) fn good(name: &str, what: &str) {
    line("32", "ok", name, what);
}

/// Tells of something that is not.
pub(crate) fn bad(name: &str, what: &str) {
    line("31", "no", name, what);
}

/// An error with its causes, on its own lines.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", paint("1;31", "error:"));
}

/// Runs one step; its result says what is there now, and the line says how
/// long it took when that was noticeable.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
    let started = Instant::now();
    match work() {
        Ok(what) if started.elapsed().as_secs() >= 2 => {
            good(name, &format!("{what} ({} s)", started.elapsed().as_secs()));
            Ok(())
        }
        Ok(what) => {
            good(name, &what);
            Ok(())
        }
        Err(error) => {
            bad(name, "");
            Err(error)
        }
    }
}

fn line(colour: &str, sign: &str, name: &str, what: &str) {
    let mut out = stderr().lock();
    // A closed standard error is no reason to stop the work.
    let _ = writeln!(out, "  {}  {name:<16} {what}", paint(colour, sign));
}

fn paint(colour: &str, text: &str) -> String {
    paint_for(stderr().is_terminal(), colour, text)
}

/// Colours a text that goes to a terminal, unless the user wants none.
pub(crate) fn paint_for(terminal: bool, colour: &str, text: &str) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

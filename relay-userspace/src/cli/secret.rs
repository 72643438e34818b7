//! Real numbers on a command line.
//!
//! Every user of a host can read every process's arguments, so a number may
//! also come from standard input (`-`), an open file descriptor (`fd:3`) or the
//! environment (`env:CUSTOMER`), which only its owner can read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use super::output::Failure;
use crate::engine::number::Typed;

/// An address is a number or a short SIP user part.
const MAX_LINE: u64 = 256;

/// What `argument` means for `--{flag}`. Two `-` read two lines.
pub(super) fn read(flag: &str, argument: &Typed, stdin: &mut dyn BufRead) -> Result<Typed, Failure> {
    let remedy = format!(
        "write --{flag} with a number or extension@trunk, '-' for a line of standard input, 'fd:N' or 'env:NAME'"
    );
    let text = argument.0.as_str();
    let line = if text == "-" {
        line_of(stdin)
    } else if let Some(number) = text.strip_prefix("fd:") {
        match number.parse::<u16>().map(|number| File::open(format!("/dev/fd/{number}"))) {
            Ok(Ok(file)) => line_of(&mut BufReader::new(file)),
            Ok(Err(_)) | Err(_) => None,
        }
    } else if let Some(name) = text.strip_prefix("env:") {
        std::env::var(name).ok()
    } else {
        Some(text.to_owned())
    };
    match line.map(|line| line.trim().to_owned()) {
        Some(line) if !line.is_empty() => Ok(Typed(line)),
        // The argument itself may be a number, so it is not repeated.
        Some(_) | None => Err(Failure::usage(format!("there is nothing to read for --{flag}"), remedy)),
    }
}

/// The same of several, of which there is one at least: it, and the others.
pub(super) fn read_all(
    flag: &str,
    arguments: &[Typed],
    stdin: &mut dyn BufRead,
) -> Result<(Typed, Vec<Typed>), Failure> {
    let read = |argument: &Typed| read(flag, argument, stdin);
    let mut all = arguments.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter();
    let first = all.next().ok_or_else(|| {
        Failure::usage(format!("--{flag} is missing"), format!("give --{flag} with an address"))
    })?;
    Ok((first, all.collect()))
}

fn line_of(from: &mut dyn BufRead) -> Option<String> {
    let mut line = String::new();
    from.take(MAX_LINE).read_line(&mut line).ok()?;
    Some(line)
}

//! How a binding may be used, as options and as text.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::output::length;
use super::duration;
use crate::engine::directory::{Direction, Mode, Prompt, Recording, Ring, Usage, UsageWish};

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "How it may be used")]
pub(super) struct UsageArgs {
    /// voice, text or both
    #[arg(long, value_name = "MODE", value_parser = word(Mode::WORDS))]
    mode: Option<Mode>,
    /// Who may begin: both, to-agent or to-customer
    #[arg(long, value_name = "DIRECTION", value_parser = word(Direction::WORDS))]
    direction: Option<Direction>,
    /// The longest call, such as 30m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_call: Option<Duration>,
    /// Calls at a time; one more is busy
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_calls: Option<u32>,
    /// End it when it was not used for so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    idle: Option<Duration>,
    /// Whether calls are to be recorded: off or on (kept and shown)
    #[arg(long, value_name = "POLICY", value_parser = word(Recording::WORDS))]
    recording: Option<Recording>,
    /// What parties are to be told: off, notice or consent (kept and shown)
    #[arg(long, value_name = "POLICY", value_parser = word(Prompt::WORDS))]
    prompt: Option<Prompt>,
    /// How several addresses of a party ring: in-order, in-turn or together
    #[arg(long, value_name = "HOW", value_parser = word(Ring::WORDS))]
    ring: Option<Ring>,
}

impl From<UsageArgs> for UsageWish {
    fn from(args: UsageArgs) -> Self {
        let UsageArgs { mode, direction, max_call, max_calls, idle, recording, prompt, ring } = args;
        Self { mode, direction, max_call, max_calls, idle, recording, prompt, ring }
    }
}

/// One of these words.
pub(in crate::cli) fn word<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|&(word, _)| word)).try_map(|text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|&(_, value)| value).ok_or("not one of the words")
    })
}

/// What is not as it is usually.
pub(super) fn shown(usage: &Usage) -> String {
    let Usage { mode, direction, max_call, max_calls, idle, recording, prompt, ring } = usage;
    let usual = Usage::default();
    let mut said = Vec::new();
    let mut say = |is_usual: bool, text: String| {
        if !is_usual {
            said.push(text);
        }
    };
    say(*mode == usual.mode, format!("{} only", mode.as_str()));
    say(*direction == usual.direction, format!("calls {} only", direction.as_str()));
    if let Some(time) = max_call {
        say(false, format!("calls of {} at most", length(*time)));
    }
    if let Some(calls) = max_calls {
        say(false, format!("{calls} calls at a time"));
    }
    if let Some(time) = idle {
        say(false, format!("ends when idle for {}", length(*time)));
    }
    say(*recording == usual.recording, format!("recording {}", recording.as_str()));
    say(*prompt == usual.prompt, format!("prompt {}", prompt.as_str()));
    say(*ring == usual.ring, format!("addresses ring {}", ring.as_str()));
    if said.is_empty() { "as every binding".to_owned() } else { said.join(", ") }
}

//! What one run of the peers tells.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};

/// How a rate was borne.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Calls asked for per second.
    pub(crate) rate: u32,
    /// Calls completed per second.
    pub(crate) achieved: f64,
    /// Calls asked for.
    pub(crate) calls: u64,
    /// Calls set up, answered and torn down.
    pub(crate) successful: u64,
    /// Calls that did not go as the scenario says.
    pub(crate) failed: u64,
    /// Messages that a peer had to send again.
    pub(crate) retransmissions: u64,
    /// Whether Vizard had no call left a moment after the last one.
    pub(crate) settled: bool,
    /// What Vizard's process used, where it took part.
    pub(crate) cpu_us_per_call: Option<f64>,
}

impl Load {
    /// No failed call, no backlog, and the rate was reached.
    pub(crate) fn sustained(&self) -> bool {
        self.failed == 0
            && self.successful == self.calls
            && self.settled
            && self.achieved >= 0.97 * f64::from(self.rate)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { achieved, failed, retransmissions, .. } = self;
        write!(f, "{achieved:.0} reached, {failed} failed, {retransmissions} retransmissions")?;
        if let Some(us) = self.cpu_us_per_call {
            write!(f, ", {us:.0} us of processor time per call")?;
        }
        f.write_str(if self.settled { "" } else { ", backlog" })
    }
}

/// The last line of sipp's statistics file, by column.
pub(crate) fn statistics(file: &str) -> Result<BTreeMap<&str, &str>> {
    let mut lines = file.lines();
    let head = lines.next().context("sipp wrote no statistics")?;
    let last = lines.next_back().context("sipp wrote no statistics")?;
    Ok(head.split(';').zip(last.split(';')).collect())
}

/// A number out of the statistics.
pub(crate) fn number(statistics: &BTreeMap<&str, &str>, column: &str) -> Result<f64> {
    let text = statistics.get(column).with_context(|| format!("sipp's statistics have no {column}"))?;
    text.parse().with_context(|| format!("sipp's {column} is {text}"))
}

/// Microseconds from INVITE to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// The median.
    pub p50: f64,
    /// What 99 of 100 calls stay below.
    pub p99: f64,
}

impl Latency {
    /// Out of sipp's short message log: `date TAB seconds TAB S|R TAB call TAB
    /// CSeq TAB first line`, with the time somewhere in front.
    pub(crate) fn read(log: &str, calls: u32) -> Result<Self> {
        let mut sent = BTreeMap::new();
        let mut times = Vec::new();
        for line in log.lines() {
            let [_, _, seconds, direction, call, cseq, first] = line.split('\t').collect::<Vec<_>>()[..]
            else {
                continue;
            };
            let microseconds = microseconds(seconds)?;
            if direction == "S" && first.starts_with("INVITE ") {
                sent.entry(call).or_insert(microseconds);
            } else if direction == "R" && first.starts_with("SIP/2.0 200") && cseq.ends_with(" INVITE") {
                times.extend(sent.remove(call).map(|sent| microseconds - sent));
            }
        }
        if times.len() != calls as usize {
            bail!("{} of {calls} calls were answered while latency was measured", times.len());
        }
        times.sort_by(f64::total_cmp);
        let quantile = |percent: usize| times[(times.len() - 1) * percent / 100];
        Ok(Self { p50: quantile(50), p99: quantile(99) })
    }
}

/// Of a time in seconds with six decimals. The whole would lose digits as one
/// floating-point number, so only the last hours of it are kept.
fn microseconds(seconds: &str) -> Result<f64> {
    let (whole, fraction) = seconds.split_once('.').with_context(|| format!("sipp logged time {seconds}"))?;
    let whole: u64 = whole.parse().with_context(|| format!("sipp logged time {seconds}"))?;
    let fraction: u32 = fraction.parse().with_context(|| format!("sipp logged time {seconds}"))?;
    let whole = u32::try_from(whole % 86_400).context("a day has fewer seconds")?;
    Ok(f64::from(whole) * 1e6 + f64::from(fraction))
}

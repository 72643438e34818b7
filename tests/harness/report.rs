//! What a benchmark found: a table for people, one JSON object for machines.
//!
//! The shape is the same for every benchmark, so that figures can be collected
//! and compared: a name that never changes its meaning, a value with its unit,
//! the goal where there is one, and how many runs the value was drawn from.

use std::fs;

use serde::Serialize;

/// The figures of one benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The benchmark's name.
    pub bench: String,
    /// What it ran on.
    pub machine: Machine,
    /// What it found.
    pub figures: Vec<Figure>,
}

/// What a benchmark ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many logical processors this process may use.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// `bench.what`; never changes its meaning.
    pub name: String,
    /// The value: a median where there were several runs.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What it should reach, or stay below; which of the two is the figure's
    /// nature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// How many runs it was drawn from.
    pub runs: usize,
}

impl Report {
    /// A report about this machine.
    #[must_use]
    pub fn new(bench: &str, figures: Vec<Figure>) -> Self {
        Self { bench: bench.to_owned(), machine: Machine::here(), figures }
    }

    /// Prints it to standard output.
    pub fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).unwrap_or_default());
        } else {
            print!("{}", self.table());
        }
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let Machine { processor, processors, kernel } = &self.machine;
        let mut text = format!("{processor}, {processors} processors, Linux {kernel}\n\n");
        let rows: Vec<[String; 5]> =
            std::iter::once(["figure", "value", "unit", "goal", "runs"].map(str::to_owned))
                .chain(self.figures.iter().map(Figure::row))
                .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4].map(width);
        for [name, value, unit, goal, runs] in &rows {
            let line = format!(
                "{name:<0$}  {value:>1$}  {unit:<2$}  {goal:>3$}  {runs:>4$}",
                widths[0], widths[1], widths[2], widths[3], widths[4]
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Figure {
    /// The median of `runs`, so that one disturbed run changes nothing; to a
    /// hundredth of its unit.
    #[must_use]
    pub fn median(name: &str, unit: &str, runs: &[f64]) -> Self {
        let value = (median(runs) * 100.0).round() / 100.0;
        Self { name: name.to_owned(), value, unit: unit.to_owned(), goal: None, runs: runs.len() }
    }

    /// With a goal.
    #[must_use]
    pub fn with_goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn row(&self) -> [String; 5] {
        let goal = self.goal.map(short).unwrap_or_default();
        [self.name.clone(), short(self.value), self.unit.clone(), goal, self.runs.to_string()]
    }
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown processor", |(_, name)| name.trim());
        Self {
            processor: processor.to_owned(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

/// The middle of all values, or the mean of the two in the middle; zero of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    f64::midpoint(lower, upper)
}

/// Three figures that matter: 0.123, 41.2, 3000.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let machine = Machine { processor: "a CPU".into(), processors: 2, kernel: "6.18".into() };
        let figure =
            |name: &str, value, goal| Figure { name: name.into(), value, unit: "ns".into(), goal, runs: 7 };
        let figures =
            vec![figure("packet.ns_over_bare", 41.23, Some(60.0)), figure("packet.bare", 6.0, None)];
        Report { bench: "packet".into(), machine, figures }
    }

    #[test]
    fn a_median_ignores_the_disturbed_run() {
        let of = |runs: &[f64]| Figure::median("x", "ns", runs).value.to_string();
        assert_eq!(of(&[3.0, 1000.0, 1.0, 2.0, 2.5]), "2.5");
        assert_eq!(of(&[1.0, 2.0]), "1.5");
        assert_eq!(of(&[]), "0");
    }

    #[test]
    fn machines_read_one_object() {
        let json = serde_json::to_value(report()).unwrap();
        let expected = serde_json::json!({
            "bench": "packet",
            "machine": { "processor": "a CPU", "processors": 2, "kernel": "6.18" },
            "figures": [
                { "name": "packet.ns_over_bare", "value": 41.23, "unit": "ns", "goal": 60.0, "runs": 7 },
                { "name": "packet.bare", "value": 6.0, "unit": "ns", "runs": 7 },
            ],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn people_read_a_table() {
        let expected = "a CPU, 2 processors, Linux 6.18\n\n\
                        figure               value  unit  goal  runs\n\
                        packet.ns_over_bare   41.2  ns    60.0     7\n\
                        packet.bare           6.00  ns             7\n";
        assert_eq!(report().table(), expected);
    }
}

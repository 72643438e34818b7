//! Which part of a list is shown, and how to go on: the same two options, the same
//! line below the table and the same field of the document for every list.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{Block, Failure, Report};

/// Rows that one request asks for.
const PIECE: usize = 1_000;

/// Where a list begins and how long it is: `USUAL` rows where nothing is said. `K` names
/// a row.
#[derive(Clone, Debug, Args)]
pub(super) struct PageArgs<K, const USUAL: usize>
where
    K: Clone + FromStr + Send + Sync + 'static,
    K::Err: Error + Send + Sync,
{
    /// At most so many
    #[arg(long, default_value_t = USUAL, value_name = "N", value_parser = at_least_one)]
    limit: usize,
    /// Go on after this row, as the end of the page before says
    #[arg(long, value_name = "ROW", value_parser = K::from_str)]
    after: Option<K>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&rows| rows > 0).ok_or_else(|| "write a number of rows, from 1".to_owned())
}

impl<K, const USUAL: usize> Default for PageArgs<K, USUAL>
where
    K: Clone + FromStr + Send + Sync + 'static,
    K::Err: Error + Send + Sync,
{
    fn default() -> Self {
        Self { limit: USUAL, after: None }
    }
}

impl<K, const USUAL: usize> PageArgs<K, USUAL>
where
    K: Clone + FromStr + Send + Sync + 'static,
    K::Err: Error + Send + Sync,
{
    /// The page, piece by piece: `fetch` gives up to so many rows after one, and after
    /// which one there may be more. A piece may be short, or have no row at all.
    pub(super) fn fetched<T>(
        &self,
        mut fetch: impl FnMut(Option<K>, usize) -> Result<(Vec<T>, Option<K>), Failure>,
    ) -> Result<Page<T>, Failure>
    where
        K: Display,
    {
        let (mut rows, mut after) = (Vec::new(), self.after.clone());
        while rows.len() < self.limit {
            let (some, next) = fetch(after, PIECE.min(self.limit - rows.len()))?;
            rows.extend(some);
            if next.is_none() {
                return Ok(Page { rows, next: None });
            }
            after = next;
        }
        Ok(Page { rows, next: after.map(|after| after.to_string()) })
    }

    /// The page of a list that is here whole and in order; `name` says what a row is
    /// called.
    pub(super) fn of<T>(&self, all: impl IntoIterator<Item = T>, name: impl Fn(&T) -> K) -> Page<T>
    where
        K: Display + Ord,
    {
        let is_before = |row: &T| self.after.as_ref().is_some_and(|after| name(row) <= *after);
        let mut rest = all.into_iter().skip_while(is_before).peekable();
        let mut rows: Vec<T> = rest.by_ref().take(self.limit).collect();
        // Rows of one name stay together, or the next page would leave some out.
        while let Some(more) = rest.next_if(|row| rows.last().is_some_and(|last| name(last) == name(row))) {
            rows.push(more);
        }
        let next = rest.peek().and(rows.last()).map(|row| name(row).to_string());
        Page { rows, next }
    }
}

/// Some rows of a list, and after which of them there may be more.
#[derive(Clone, Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// A table of it, and a document in which the rows are called so and `next` is what
    /// `--after` takes.
    pub(super) fn report(
        &self,
        name: &str,
        header: Vec<&'static str>,
        row: impl FnMut(&T) -> Vec<String>,
        empty: &str,
    ) -> Result<Report, Failure>
    where
        T: Serialize,
    {
        let rows = self.rows.iter().map(row).collect();
        let mut blocks = vec![Block::Table { header, rows, empty: empty.to_owned() }];
        if let Some(next) = &self.next {
            blocks.push(Block::Text(format!("There may be more: go on with --after {next}")));
        }
        let mut document = Value::Object(serde_json::Map::new());
        document[name] = json!(self.rows);
        document["next"] = json!(self.next);
        Report::new(blocks, document)
    }
}

/// A list that is here whole.
impl<T> From<Vec<T>> for Page<T> {
    fn from(rows: Vec<T>) -> Self {
        Self { rows, next: None }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        page: PageArgs<u64, 4>,
    }

    fn page(words: &[&str]) -> PageArgs<u64, 4> {
        Line::try_parse_from(std::iter::once(&"x").chain(words)).unwrap().page
    }

    #[test]
    fn pages_join_to_the_whole_list_however_it_is_fetched() {
        let all: Vec<u64> = (1..=10).collect();
        // In pieces of at most three, every other one of which is empty.
        let fetch = |after: Option<u64>, limit: usize| {
            let start = after.unwrap_or(0);
            let some: Vec<u64> = (start + 1..=10).take(limit.min(3)).filter(|row| row % 4 != 0).collect();
            let last = (start + u64::try_from(limit.min(3)).unwrap()).min(10);
            Ok((some, (last < 10).then_some(last)))
        };
        let (mut fetched, mut whole, mut after) = (Vec::new(), Vec::new(), None::<String>);
        loop {
            let words: Vec<&str> = after.iter().flat_map(|after| ["--after", after.as_str()]).collect();
            let page = page(&words).of(all.clone(), |&row| row);
            assert!(page.rows.len() <= 4);
            whole.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(whole, all);
        loop {
            let words: Vec<&str> = after.iter().flat_map(|after| ["--after", after.as_str()]).collect();
            let page = page(&words).fetched(fetch).unwrap();
            fetched.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(fetched, [1, 2, 3, 5, 6, 7, 9, 10]);
        assert_eq!(page(&["--after", "10"]).of(all.clone(), |&row| row).rows, Vec::<u64>::new());
        // The row that a page ended with may be gone.
        let without: Vec<u64> = all.into_iter().filter(|&row| row != 5).collect();
        assert_eq!(page(&["--after", "5", "--limit", "2"]).of(without, |&row| row).rows, [6, 7]);
        assert_eq!(page(&["--limit", "1"]).of([1, 1, 2], |&row| row).rows, [1, 1]);
    }

    #[test]
    fn a_page_says_how_to_go_on_to_people_and_to_programs() {
        let page = Page { rows: vec![7, 8], next: Some("8".to_owned()) };
        let report = page.report("rows", vec!["ROW"], |row| vec![row.to_string()], "none").unwrap();
        assert_eq!(report.json, json!({ "rows": [7, 8], "next": "8" }));
        assert!(matches!(&report.blocks[1], Block::Text(text) if text.ends_with("--after 8")));
        let last = Page::from(vec![9]).report("rows", vec!["ROW"], |row| vec![row.to_string()], "none");
        assert_eq!((last.as_ref().unwrap().blocks.len(), &last.unwrap().json["next"]), (1, &Value::Null));
        for bad in ["0", "-1", "many"] {
            assert!(Line::try_parse_from(["x", "--limit", bad]).is_err());
        }
        assert!(Line::try_parse_from(["x", "--after", "soon"]).is_err());
    }
}

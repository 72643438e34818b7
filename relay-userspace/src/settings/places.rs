//! `[geography]`: where numbers are looked for.

use std::collections::BTreeMap;

use super::problem::Report;
use super::reader::{Item, Section};
use crate::engine::geography::{Region, Rules, Step};
use crate::engine::number::Country;

const COUNTRY: &str = "write two-letter country codes (ISO 3166-1), such as \"DE\"";
const STEPS: [(&str, Step); 5] = [
    ("locality", Step::Locality),
    ("state", Step::State),
    ("country", Step::Country),
    ("neighbours", Step::Neighbours),
    ("regions", Step::Regions),
];

pub(super) fn geography(mut section: Section<'_>, report: &mut Report<'_>) -> Rules {
    let default = Rules::default();
    let mut flag = |key, default| section.get(key).and_then(|item| item.boolean(report)).unwrap_or(default);
    let (strict, anywhere) = (flag("strict", default.strict), flag("anywhere", default.anywhere));
    let orders = section.section("order", report);
    let orders = by_country(&orders, report, |item, report| {
        let steps = each_once(item, report, |item, report| item.choice(&STEPS, report));
        if steps.is_empty() {
            report.error(
                &item.at,
                &item.path,
                "the list is empty",
                "write it as in [\"state\", \"country\"]",
            );
        }
        steps
    });
    let neighbours = section.section("neighbours", report);
    let neighbours = by_country(&neighbours, report, countries);
    let regions = section.sections("region", report);
    let regions = regions.into_iter().filter_map(|section| region(section, report)).collect();
    section.finish(report);
    Rules { strict, anywhere, orders, neighbours, regions }
}

fn by_country<T>(
    section: &Section<'_>,
    report: &mut Report<'_>,
    read: impl Fn(&Item<'_>, &mut Report<'_>) -> Vec<T>,
) -> BTreeMap<Country, Vec<T>> {
    let mut found = BTreeMap::new();
    for (name, item) in section.entries() {
        let list = read(&item, report);
        match name.value.parse::<Country>() {
            Ok(country) => drop(found.insert(country, list)),
            Err(error) => report.error(&name.at, &name.path, error.to_string(), COUNTRY),
        }
    }
    found
}

fn region(mut section: Section<'_>, report: &mut Report<'_>) -> Option<Region> {
    let name = super::sections::name(&mut section, report);
    let remedy = "list its countries: countries = [\"SG\", \"AU\"]";
    let list = section.require("countries", report, remedy).map(|item| countries(&item, report));
    section.finish(report);
    Some(Region { name: name?.value, countries: list? })
}

fn countries(item: &Item<'_>, report: &mut Report<'_>) -> Vec<Country> {
    each_once(item, report, |item, report| item.parse(report, COUNTRY))
}

fn each_once<T: PartialEq>(
    item: &Item<'_>,
    report: &mut Report<'_>,
    read: impl Fn(&Item<'_>, &mut Report<'_>) -> Option<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    for item in item.list(report) {
        let Some(value) = read(&item, report) else { continue };
        if found.contains(&value) {
            report.error(&item.at, &item.path, "it stands here twice", "name each once");
        } else {
            found.push(value);
        }
    }
    found
}

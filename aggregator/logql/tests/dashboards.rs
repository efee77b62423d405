//! The queries of the dashboards that ship parse, and keep their meaning when they are printed.
//!
//! `testdata/dashboards.txt` is written by `deploy/grafana/dashboards.py`, with sample values in the place of variables.

use tailwater_logql::{format_query, parse};

fn queries() -> impl Iterator<Item = &'static str> {
    include_str!("../testdata/dashboards.txt").lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn every_query_parses() {
    for query in queries() {
        let parsed = parse(query).unwrap_or_else(|error| panic!("`{query}`: {error}"));
        let printed = format_query(&parsed);
        let again = parse(&printed).unwrap_or_else(|error| panic!("`{printed}`: {error}"));
        assert_eq!(format_query(&again), printed);
    }
    assert!(queries().count() >= 10, "the list of queries is cut short");
}

#[test]
fn a_planted_mistake_is_seen() {
    let broken = queries().next().expect("there is a query").replacen('}', "", 1);
    assert!(parse(&broken).is_err(), "`{broken}` was taken");
}

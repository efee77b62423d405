//! Every query of the recorded reference: what it refused, what it accepted, and how it printed queries.
//!
//! Error texts are compared whole, lists of expected tokens included; only blanks are folded, because the recorded
//! answers are trimmed.

use serde_json::Value;
use tailwater_logql::ast::Stage;
use tailwater_logql::validate::check_stages;
use tailwater_logql::{format_query, parse};

fn rows(file: &str) -> Vec<Value> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn field<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}

fn folded(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn nothing_more(_: &Stage) -> Result<(), String> {
    Ok(())
}

#[test]
fn refused_queries_are_refused_with_the_same_text() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in rows("refused_queries.jsonl") {
        let query = field(&row, "query").expect("query");
        let expected = folded(field(&row, "error").expect("error"));
        compared += 1;
        let answer = match parse(query).and_then(|tree| check_stages(&tree, &nothing_more)) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => folded(&error.to_string()),
        };
        if answer != expected {
            wrong.push(format!("{} {query}\n  expected {expected}\n  got      {answer}", row["id"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 350, "only {compared} compared");
}

#[test]
fn accepted_queries_are_accepted_and_read_back() {
    let mut wrong = Vec::new();
    for row in rows("accepted_queries.jsonl") {
        let query = row.as_str().expect("a query");
        let tree = match parse(query) {
            Ok(tree) => tree,
            Err(error) => {
                wrong.push(format!("{query}\n  {error}"));
                continue;
            }
        };
        for printed in [format_query(&tree), tree.to_string()] {
            let again = parse(&printed);
            // NaN differs from itself: such trees are compared by their text.
            if again.as_ref() != Ok(&tree) && again.as_ref().map(ToString::to_string) != Ok(tree.to_string()) {
                wrong.push(format!("{query}\n  printed {printed}\n  read back as {again:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn queries_are_printed_as_the_reference_prints_them() {
    for row in rows("format_query.jsonl") {
        let query = field(&row, "query").expect("query");
        match (parse(query), field(&row, "printed"), field(&row, "error")) {
            (Ok(tree), Some(printed), _) => assert_eq!(format_query(&tree), printed, "{query}"),
            (Err(error), _, Some(expected)) => assert_eq!(folded(&error.to_string()), folded(expected), "{query}"),
            (answer, ..) => panic!("{query}: {answer:?}"),
        }
    }
}

//! What a stage did to an entry, as text: for `--inspect`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::entry::Entry;

/// What became of an entry in a stage.
pub(super) enum Result<'a> {
    /// Went on, as it is now.
    Passed(&'a Entry),
    Dropped,
    /// Kept back until more lines come.
    Held,
}

/// Prints what `stage` made of `before`.
pub(super) fn print(stage: &str, before: &Entry, result: &Result<'_>) {
    use std::io::Write as _;
    let text = render(stage, before, result);
    // Nobody reading any more is no reason to end.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
}

/// One line for the stage, and one for each thing that changed: `-` before, `+` after.
fn render(stage: &str, before: &Entry, result: &Result<'_>) -> String {
    let mut out = format!("[{stage}]");
    let after = match result {
        Result::Dropped => {
            out.push_str(" dropped the line\n");
            return out;
        }
        Result::Held => {
            out.push_str(" holds the line\n");
            return out;
        }
        Result::Passed(after) => after,
    };
    let length = out.len();
    let mut differ = |what: &str, old: Option<&str>, new: Option<&str>| {
        if old == new {
            return;
        }
        for (sign, value) in [('-', old), ('+', new)] {
            if let Some(value) = value {
                write!(out, "\n  {sign} {what}: {value}").expect("writing to a string cannot fail");
            }
        }
    };
    differ("line", Some(&before.line), Some(&after.line));
    let stamp = |entry: &Entry| entry.timestamp.map(|nanos| format!("{nanos} ns"));
    differ("timestamp", stamp(before).as_deref(), stamp(after).as_deref());
    let kinds = [
        ("label", pairs(before.labels.iter()), pairs(after.labels.iter())),
        ("extracted", extracted(before), extracted(after)),
        ("structured metadata", pairs(before.metadata.iter().map(|(n, v)| (n, v))), pairs(after.metadata.iter().map(|(n, v)| (n, v)))),
    ];
    for (kind, old, new) in &kinds {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            differ(&format!("{kind} {name}"), old.get(name).map(String::as_str), new.get(name).map(String::as_str));
        }
    }
    if out.len() == length {
        out.push_str(" changed nothing");
    }
    out.push('\n');
    out
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn extracted(entry: &Entry) -> BTreeMap<String, String> {
    entry.extracted.texts().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::entry::Value;
    use crate::relabel::Labels;

    #[test]
    fn only_what_changed_is_told() {
        let labels = Arc::new(Labels::from([("job".to_owned(), "j".to_owned())]));
        let before = Entry::new(&labels, "level=info x".to_owned(), 0);
        let mut after = before.clone();
        after.extracted.set("level", Value::Text("info".to_owned()));
        after.set_label("level", "info".to_owned());
        after.timestamp = Some(5);
        let text = render("labels", &before, &Result::Passed(&after));
        assert_eq!(text, "[labels]\n  + timestamp: 5 ns\n  + label level: info\n  + extracted level: info\n");
        assert_eq!(render("output", &before, &Result::Passed(&before)), "[output] changed nothing\n");
        assert_eq!(render("drop", &before, &Result::Dropped), "[drop] dropped the line\n");
    }
}

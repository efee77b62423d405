//! The templates that `queries` writes: fields, a few functions, pipes and one level of `if`.

use super::entry::Entry;

pub(crate) fn execute(template: &str, entry: &Entry<'_>) -> String {
    let mut out = String::new();
    // Of an open `if`: whether its branch is taken.
    let mut is_taken = true;
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").expect("an action ends");
        out.push_str(if is_taken { text } else { "" });
        rest = after;
        match action.trim() {
            "else" => is_taken = !is_taken,
            "end" => is_taken = true,
            action => match action.strip_prefix("if ") {
                Some(condition) => is_taken = pipeline(condition, entry) == "true",
                None if is_taken => out.push_str(&pipeline(action, entry)),
                None => {}
            },
        }
    }
    out + rest
}

/// The fields that a template reads.
pub(crate) fn fields(template: &str) -> Vec<String> {
    let actions = template.split("{{").skip(1).map(|action| action.split("}}").next().unwrap_or_default());
    actions
        .flat_map(|action| action.split_whitespace().filter_map(|word| word.strip_prefix('.')).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn pipeline(action: &str, entry: &Entry<'_>) -> String {
    action.split('|').fold(None, |last, command| Some(self::command(command.trim(), last, entry))).unwrap_or_default()
}

/// A function with its arguments; what the command before gave is the last one.
fn command(command: &str, last: Option<String>, entry: &Entry<'_>) -> String {
    let mut words = command.split_whitespace();
    let function = words.next().expect("a command");
    let argument = |word: &str| match word.strip_prefix('.') {
        Some(name) => entry.get(name).to_owned(),
        None => word.trim_matches('`').to_owned(),
    };
    let arguments: Vec<String> = words.map(argument).chain(last).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (function, &arguments[..]) {
        ("__line__", _) => entry.line.clone(),
        ("__timestamp__", _) => entry.timestamp.to_string(),
        ("unixEpochNanos", [nanoseconds]) => (*nanoseconds).to_owned(),
        ("ToUpper", [text]) => text.to_uppercase(),
        ("trunc", [count, text]) => text[..text.len().min(count.parse().expect("a count"))].to_owned(),
        ("default", [otherwise, text]) => (if text.is_empty() { otherwise } else { text }).to_string(),
        ("replace", [old, new, text]) => text.replace(old, new),
        ("trimPrefix", [prefix, text]) => text.strip_prefix(prefix).unwrap_or(text).to_owned(),
        ("printf", [form, text]) => form.replace("%s", text),
        ("eq", [left, right]) => (left == right).to_string(),
        (field, []) if field.starts_with('.') => argument(field),
        other => panic!("a command not known here: {other:?}"),
    }
}

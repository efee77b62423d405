//! `relabel_configs` as rules, with Prometheus' checks.

use super::is_label_name;
use super::rule::{Action, Rule, WholeRegex};
use crate::promtail::reader::Fields;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// Reads a list of rules; those with errors are reported and left out.
pub(crate) fn read_rules(node: &Node, report: &mut Report) -> Vec<Rule> {
    let Some(items) = node.sequence() else {
        report.error(node.line, "`relabel_configs`: expected a list");
        return Vec::new();
    };
    items.iter().filter_map(|item| read_rule(item, report)).collect()
}

/// The keys as they are written; absent ones are `None`.
struct Written {
    source_labels: Option<Vec<String>>,
    separator: Option<String>,
    regex: Option<String>,
    modulus: u64,
    target_label: String,
    replacement: Option<String>,
    action: Action,
}

fn read_rule(node: &Node, report: &mut Report) -> Option<Rule> {
    let mut fields = Fields::of(node, "relabel_configs", report)?;
    let action = match fields.take("action") {
        None => Some(Action::Replace),
        Some(node) => {
            let name = node.raw_text().unwrap_or_default();
            let action = Action::from_name(name);
            if action.is_none() {
                report.error(node.line, format!("unknown relabel action `{name}`"));
            }
            action
        }
    };
    let modulus = fields.integer("modulus", report).unwrap_or(0);
    // Written as empty text is something else than not written.
    let mut text_or_empty = |key: &str, fields: &mut Fields<'_>| {
        let is_there = fields.has(key);
        fields.text(key, report).or_else(|| is_there.then(String::new))
    };
    let separator = text_or_empty("separator", &mut fields);
    let regex = text_or_empty("regex", &mut fields);
    let target_label = text_or_empty("target_label", &mut fields).unwrap_or_default();
    let replacement = text_or_empty("replacement", &mut fields);
    let source_labels = fields.text_list("source_labels", report);
    let line = fields.line();
    fields.finish(report);
    let modulus = u64::try_from(modulus).unwrap_or(0);
    let written = Written { source_labels, separator, regex, modulus, target_label, replacement, action: action? };
    if let Err(problem) = check(&written) {
        report.error(line, problem);
        return None;
    }
    let regex = written.regex.unwrap_or_else(|| DEFAULT_REGEX.to_owned());
    let regex = WholeRegex::new(&regex).map_err(|error| report.error(line, format!("relabel rule with regex `{regex}`: {error}"))).ok()?;
    Some(Rule {
        source_labels: written.source_labels.unwrap_or_default(),
        separator: written.separator.unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()),
        regex,
        modulus: written.modulus,
        target_label: written.target_label,
        replacement: written.replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned()),
        action: written.action,
    })
}

fn check(rule: &Written) -> Result<(), String> {
    use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
    let name = rule.action.name();
    let target = rule.target_label.as_str();
    let has_regex = rule.regex.as_deref().is_some_and(|regex| regex != DEFAULT_REGEX);
    let has_separator = rule.separator.as_deref().is_some_and(|separator| separator != DEFAULT_SEPARATOR);
    let has_replacement = rule.replacement.as_deref().is_some_and(|replacement| replacement != DEFAULT_REPLACEMENT);
    if let Some(wrong) = rule.source_labels.iter().flatten().find(|name| !is_label_name(name)) {
        return Err(format!("`{wrong}` in `source_labels` is no label name"));
    }
    if rule.action == HashMod && rule.modulus == 0 {
        return Err("a hashmod rule needs a `modulus` that is not zero".to_owned());
    }
    let needs_target = matches!(rule.action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
    if needs_target && target.is_empty() {
        return Err(format!("a {name} rule needs a `target_label`"));
    }
    let is_target_valid = match rule.action {
        Replace if target.contains('$') => is_name_template(target),
        HashMod | Replace => is_label_name(target),
        Lowercase | Uppercase | KeepEqual | DropEqual => is_name_template(target),
        _ => true,
    };
    if !is_target_valid {
        return Err(format!("`{target}` cannot be the `target_label` of a {name} rule"));
    }
    let takes_replacement = matches!(rule.action, Replace | LabelMap | HashMod) || !needs_target;
    if has_replacement && !takes_replacement {
        return Err(format!("`replacement` cannot be given in a {name} rule"));
    }
    if rule.action == LabelMap && !is_name_template(rule.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT)) {
        return Err(format!("`{}` cannot be the `replacement` of a {name} rule", rule.replacement.as_deref().unwrap_or_default()));
    }
    if matches!(rule.action, DropEqual | KeepEqual) && (has_regex || rule.modulus != 0 || has_separator || has_replacement) {
        return Err(format!("a {name} rule takes `source_labels` and `target_label` only"));
    }
    let has_more = rule.source_labels.is_some() || !target.is_empty() || rule.modulus != 0 || has_separator || has_replacement;
    if matches!(rule.action, LabelDrop | LabelKeep) && has_more {
        return Err(format!("a {name} rule takes `regex` only"));
    }
    Ok(())
}

/// Whether `text` can become a label name once `$1`, `${1}` or `$name` are filled in.
fn is_name_template(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let braced = bytes.get(at + 1) == Some(&b'{');
        if *byte == b'$' {
            let start = at + 1 + usize::from(braced);
            let length = bytes[start.min(bytes.len())..].iter().take_while(|byte| is_word(**byte)).count();
            if length == 0 || (braced && bytes.get(start + length) != Some(&b'}')) {
                return false;
            }
            at = start + length + usize::from(braced);
        } else if is_word(*byte) && (at > 0 || !byte.is_ascii_digit()) {
            at += 1;
        } else {
            return false;
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::yaml;

    fn problems(text: &str) -> Vec<String> {
        let mut report = Report::default();
        read_rules(&yaml::parse(text).unwrap(), &mut report);
        report.errors.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn good_rules_are_taken() {
        for text in [
            "- {source_labels: [a], target_label: b}",
            "- {target_label: fixed, replacement: ''}",
            "- {source_labels: [a], target_label: '${1}_x', action: Replace}",
            "- {action: labelmap, regex: 'x_(.+)'}",
            "- {action: labelmap, regex: 'x_(.+)', replacement: 'k8s_$1'}",
            "- {action: labeldrop, regex: 'x_(.+)'}",
            "- {action: hashmod, source_labels: [a], modulus: 4, target_label: __tmp}",
        ] {
            assert_eq!(problems(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn wrong_rules_say_why() {
        for (text, part) in [
            ("- {source_labels: [a], action: rename}", "`rename`"),
            ("- {source_labels: [a]}", "`target_label`"),
            ("- {source_labels: [a], target_label: a-b}", "`a-b`"),
            ("- {source_labels: [a-b], target_label: b}", "`a-b`"),
            ("- {source_labels: [a], target_label: b, action: hashmod}", "`modulus`"),
            ("- {source_labels: [a], target_label: b, regex: 'a('}", "a("),
            ("- {source_labels: [a], target_label: b, regex: x, action: keepequal}", "keepequal"),
            ("- {regex: a, source_labels: [b], action: labeldrop}", "`regex` only"),
            ("- {source_labels: [a], target_label: b, replacement: x, action: lowercase}", "`replacement`"),
            ("- {source_label: [a], target_label: b}", "unknown key `source_label`"),
        ] {
            let found = problems(text);
            assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
        }
    }
}

//! Label and field selectors of Kubernetes, as matchers of LogQL. Pure.
//!
//! A label that a stream has not is empty to both, so each requirement is one matcher. Keys are named as streams name labels: whatever is no letter
//! or digit is `_` (`app.kubernetes.io/name` is `app_kubernetes_io_name`). What cannot be asked for is refused, never left out.

use crate::apiserver::pod_log::quoted;

/// Characters of a label's value.
const MOST_VALUE: usize = 63;

/// `name op "value"` of LogQL for each requirement of a `labelSelector`.
pub(super) fn of_labels(text: &str) -> Result<Vec<String>, String> {
    requirements(text)
        .map(|requirement| of_label(requirement).map_err(|reason| format!("labelSelector: `{requirement}` {reason}")))
        .collect()
}

/// A requirement of a `fieldSelector`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldRequirement<'f> {
    /// What stands for the field in the list of those that are known.
    pub(super) name: &'f str,
    pub(super) is_equal: bool,
    pub(super) value: String,
}

impl FieldRequirement<'_> {
    /// As LogQL has it, as a matcher or as a filter.
    pub(super) fn matcher(&self) -> String {
        format!("{}{}{}", self.name, if self.is_equal { "=" } else { "!=" }, quoted(&self.value))
    }
}

/// Each requirement of a `fieldSelector`. `known`: fields, and what stands for them.
pub(super) fn of_fields<'f>(text: &str, known: &[(&str, &'f str)]) -> Result<Vec<FieldRequirement<'f>>, String> {
    let of_field = |requirement: &str| {
        let refusal = |reason: &str| format!("fieldSelector: `{requirement}` {reason}");
        let (field, is_equal, value) =
            equality(requirement).ok_or_else(|| refusal("is none of field=value, field==value, field!=value"))?;
        let name = known.iter().find(|(known, _)| *known == field).map(|(_, name)| *name);
        let fields: Vec<&str> = known.iter().map(|(field, _)| *field).collect();
        let name = name.ok_or_else(|| refusal(&format!("names no field that can be asked for, which are {}", fields.join(", "))))?;
        Ok(FieldRequirement { name, is_equal, value: value.to_owned() })
    };
    requirements(text).map(of_field).collect()
}

/// Requirements are parted by commas, those between parentheses aside.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// Name, whether it shall be equal, and value.
fn equality(requirement: &str) -> Option<(&str, bool, &str)> {
    let (name, value, is_equal) = match requirement.split_once("!=") {
        Some((name, value)) => (name, value, false),
        None => {
            let (name, value) = requirement.split_once('=')?;
            (name, value.strip_prefix('=').unwrap_or(value), true)
        }
    };
    Some((name.trim(), is_equal, value.trim()))
}

fn of_label(requirement: &str) -> Result<String, &'static str> {
    if let Some((key, is_equal, value)) = equality(requirement) {
        return Ok(format!("{}{}{}", label(key)?, if is_equal { "=" } else { "!=" }, quoted(of_value(value)?)));
    }
    if let Some(values) = requirement.strip_suffix(')') {
        let (head, values) = values.split_once('(').ok_or("has no opening parenthesis")?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace).ok_or("has neither `in` nor `notin`")?;
        let operator = match operator {
            "in" => "=~",
            "notin" => "!~",
            _ => return Err("has neither `in` nor `notin`"),
        };
        let values: Result<Vec<String>, _> =
            values.split(',').map(|value| of_value(value.trim()).map(|value| value.replace('.', "\\."))).collect();
        return Ok(format!("{}{operator}{}", label(key)?, quoted(&values?.join("|"))));
    }
    match requirement.strip_prefix('!') {
        Some(key) => Ok(format!("{}=\"\"", label(key)?)),
        None => Ok(format!("{}!=\"\"", label(requirement)?)),
    }
}

/// The label that streams have for a key.
fn label(key: &str) -> Result<String, &'static str> {
    let key = key.trim();
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/');
    if key.is_empty() || key.len() > 317 || !key.chars().all(is_part) {
        return Err("has no key of a label");
    }
    let named: String = key.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect();
    Ok(if named.starts_with(|first: char| first.is_ascii_digit()) { format!("_{named}") } else { named })
}

/// Whether a text can be the value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MOST_VALUE && bytes.iter().all(|byte| is_part(*byte)) && is_edge(bytes.first()) && is_edge(bytes.last())
}

fn of_value(text: &str) -> Result<&str, &'static str> {
    is_label_value(text).then_some(text).ok_or("has a value that no label can have")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_of_labels_are_matchers() {
        for (text, expected) in [
            ("", &[][..]),
            ("app=till", &["app=\"till\""]),
            ("app==till,tier!=db", &["app=\"till\"", "tier!=\"db\""]),
            ("app.kubernetes.io/name in (a.b, c)", &["app_kubernetes_io_name=~\"a\\\\.b|c\""]),
            ("a,b notin (x),!c", &["a!=\"\"", "b!~\"x\"", "c=\"\""]),
            ("1st=x", &["_1st=\"x\""]),
            ("app=", &["app=\"\""]),
        ] {
            assert_eq!(
                of_labels(text).as_deref(),
                Ok(expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            ["app=~x", "a b", "a in x", "a in x)", "a near (x)", "a>5", "=x", "a=\"x\"", "a=x|y", "a in (x|y)", "!", "a=-x", "{a=x}"]
        {
            let refusal = of_labels(text).expect_err(text);
            assert!(refusal.starts_with("labelSelector: `"), "{refusal}");
        }
    }

    #[test]
    fn fields_are_those_that_are_known() {
        let known = [("metadata.name", "pod"), ("status.nodeName", "node_name")];
        let found = of_fields("metadata.name=a,status.nodeName!=n\"1", &known).expect("fields");
        let matchers: Vec<String> = found.iter().map(FieldRequirement::matcher).collect();
        assert_eq!(matchers, ["pod=\"a\"", "node_name!=\"n\\\"1\""]);
        let refusal = of_fields("status.phase=Running", &known).expect_err("no such field");
        assert!(refusal.contains("status.phase=Running") && refusal.contains("metadata.name, status.nodeName"), "{refusal}");
        assert!(of_fields("metadata.name", &known).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_is_logql(text in "[ab.,/=! ()~\"|{}in0-9-]{0,24}") {
            if let Ok(matchers) = of_labels(&text) {
                let selector = format!("{{pod!=\"\"{}}}", matchers.iter().map(|matcher| format!(", {matcher}")).collect::<String>());
                proptest::prop_assert!(tailwater_logql::parse_any_selector(&selector).is_ok(), "{selector}");
            }
        }
    }
}

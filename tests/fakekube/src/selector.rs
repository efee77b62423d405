//! Label selectors and field selectors.

use serde_json::Value;

use crate::resource::Resource;
use crate::status::Failure;

/// What a list or a watch asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    /// Dotted path, whether it has to be equal, value.
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    /// Objects without the label match as well.
    NotIn(String, Vec<String>),
}

impl Selector {
    pub(crate) fn parse(resource: &Resource, labels: Option<&str>, fields: Option<&str>) -> Result<Self, Failure> {
        let labels = label_requirements(labels.unwrap_or_default())
            .map_err(|part| Failure::bad_request(format!("unable to parse requirement: {part}")))?;
        let mut parsed = Vec::new();
        for part in fields.unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
            let (name, is_equal, value) =
                equation(part).ok_or_else(|| Failure::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'")))?;
            if !resource.selects_by(name) {
                return Err(Failure::bad_request(format!("field label not supported: {name}")));
            }
            parsed.push((name.to_owned(), is_equal, value.to_owned()));
        }
        Ok(Self { labels, fields: parsed })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |name: &str| labels[name].as_str();
        self.labels.iter().all(|requirement| match requirement {
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Missing(name) => label(name).is_none(),
            Requirement::In(name, values) => label(name).is_some_and(|value| values.iter().any(|one| one == value)),
            Requirement::NotIn(name, values) => label(name).is_none_or(|value| values.iter().all(|one| one != value)),
        }) && self.fields.iter().all(|(path, is_equal, wanted)| (field(object, path) == *wanted) == *is_equal)
    }
}

/// A missing field is the empty text.
fn field(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |value, part| &value[part]) {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        // An event's source is selected by its component.
        Value::Object(_) if path == "source" => object["source"]["component"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn equation(part: &str) -> Option<(&str, bool, &str)> {
    let trimmed = |(name, value): (_, _), is_equal| {
        let (name, value): (&str, &str) = (name, value);
        (name.trim(), is_equal, value.trim())
    };
    if let Some(found) = part.split_once("!=") {
        return Some(trimmed(found, false));
    }
    let found = part.split_once("==").or_else(|| part.split_once('='))?;
    Some(trimmed(found, true))
}

/// The requirements, or the part that is none.
fn label_requirements(text: &str) -> Result<Vec<Requirement>, &str> {
    let mut requirements = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = end_of_requirement(rest);
        let (part, after) = (rest.get(..end).unwrap_or(rest), rest.get(end + 1..).unwrap_or_default());
        requirements.push(requirement(part.trim()).ok_or(part)?);
        rest = after.trim();
    }
    Ok(requirements)
}

/// The next comma that is in no parentheses.
fn end_of_requirement(text: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some((before, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let (name, operator) = before.trim().rsplit_once(' ')?;
        let (name, values) = (name.trim().to_owned(), values.split(',').map(|value| value.trim().to_owned()).collect());
        return match operator {
            "in" => Some(Requirement::In(name, values)),
            "notin" => Some(Requirement::NotIn(name, values)),
            _ => None,
        };
    }
    if let Some((name, is_equal, value)) = equation(part) {
        let (name, values) = (name.to_owned(), vec![value.to_owned()]);
        return Some(if is_equal { Requirement::In(name, values) } else { Requirement::NotIn(name, values) });
    }
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    match part.strip_prefix('!') {
        Some(name) => is_name(name.trim()).then(|| Requirement::Missing(name.trim().to_owned())),
        None => is_name(part).then(|| Requirement::Exists(part.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::PODS;
    use serde_json::json;

    fn matches(labels: &str, fields: &str) -> bool {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
            "spec": {"nodeName": "node-a", "hostNetwork": true},
        });
        Selector::parse(PODS, Some(labels), Some(fields)).expect("a selector").matches(&pod)
    }

    #[test]
    fn selectors_select() {
        for (labels, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app=api", false),
            ("app in (api, web),tier", true),
            ("app notin (web)", false),
            ("gone notin (web)", true),
            ("gone!=x", true),
            ("!gone", true),
            ("!app", false),
            ("gone", false),
        ] {
            assert_eq!(matches(labels, ""), expected, "{labels}");
        }
        for (fields, expected) in [
            ("spec.nodeName=node-a", true),
            ("spec.nodeName!=node-a", false),
            ("metadata.name==a,metadata.namespace=shop", true),
            ("status.phase=", true),
            ("spec.hostNetwork=true", true),
        ] {
            assert_eq!(matches("", fields), expected, "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_selected_by_is_refused() {
        for (labels, fields) in [("a b", ""), ("x in y", ""), ("app of (a)", ""), ("", "spec.image=x"), ("", "metadata.name")] {
            assert!(Selector::parse(PODS, Some(labels), Some(fields)).is_err(), "{labels} {fields}");
        }
    }
}

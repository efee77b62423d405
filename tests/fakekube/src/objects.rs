//! Objects from YAML or JSON files.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use serde_json::Value;

/// The documents of a text, members of a `List` one by one.
pub(crate) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document)?;
        match &document {
            Value::Null => {}
            Value::Object(fields) if document["kind"] == "List" => {
                found.extend(fields.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            }
            Value::Object(_) => found.push(document),
            _ => bail!("a document is no object"),
        }
    }
    Ok(found)
}

/// The documents of every YAML and JSON file in a folder, in the order of their names; of one file if it is one.
pub(crate) fn documents_at(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot list `{}`", path.display()))?;
        files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known)));
        files.sort();
    }
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        found.extend(documents(&text).with_context(|| format!("cannot parse `{}`", file.display()))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "kind: A\n---\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n";
        let kinds: Vec<_> = documents(text).expect("documents").iter().map(|one| one["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert!(documents("- a").is_err() && documents("a: [").is_err());
    }
}

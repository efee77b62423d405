//! Where in a configuration a line is: `clients[0].batchwait`.

use super::report::Report;
use super::yaml::Node;

/// A key or an item of a list.
struct Place {
    line: usize,
    path: String,
    /// Empty for an item of a list.
    key: String,
}

/// Gives every finding the path of the key it is about.
pub(super) fn locate(root: &Node, report: &mut Report) {
    let mut places = Vec::new();
    collect(root, String::new(), &mut places);
    for finding in report.errors.iter_mut().chain(&mut report.notes) {
        finding.path = path_of(&places, finding.line, &finding.text).unwrap_or_default();
    }
}

fn collect(node: &Node, path: String, places: &mut Vec<Place>) {
    for (name, value) in node.mapping().unwrap_or_default() {
        let key = name.raw_text().unwrap_or("?").to_owned();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        places.push(Place { line: name.line, path: path.clone(), key });
        collect(value, path, places);
    }
    for (index, item) in node.sequence().unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        places.push(Place { line: item.line, path: path.clone(), key: String::new() });
        collect(item, path, places);
    }
}

/// Of several keys on one line the deepest that `text` names, else the outermost; within a long value, the key that it belongs to.
fn path_of(places: &[Place], line: usize, text: &str) -> Option<String> {
    let here = || places.iter().filter(|place| place.line == line);
    let is_named = |key: &str| !key.is_empty() && (text.contains(&format!("`{key}`")) || text.contains(&format!(".{key}`")));
    let named = here().rfind(|place| is_named(&place.key));
    let before = || places.iter().filter(|place| place.line < line).max_by_key(|place| place.line);
    named.or_else(|| here().next()).or_else(before).map(|place| place.path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::yaml;

    #[test]
    fn the_key_that_is_named_is_found_on_its_line() {
        let text = "clients:\n- url: x\n  backoff_config: {min_period: a, max_period: b}\nscrape_configs:\n- job_name: j\n  pipeline_stages:\n  - regex:\n      expression: |\n        long\n        text\n";
        let root = yaml::parse(text).unwrap();
        let mut report = Report::default();
        for (line, text) in [
            (3, "`clients.backoff_config.max_period`: expected a duration"),
            (3, "something else"),
            (2, "unknown key `url` in `clients`"),
            (2, "`clients.tenant` is missing"),
            (7, "unknown pipeline stage `regex`"),
            (10, "not a pattern"),
        ] {
            report.error(line, text);
        }
        locate(&root, &mut report);
        let paths: Vec<&str> = report.errors.iter().map(|finding| finding.path.as_str()).collect();
        let regex = "scrape_configs[0].pipeline_stages[0].regex";
        let expected = ["clients[0].backoff_config.max_period", "clients[0].backoff_config", "clients[0].url", "clients[0]", regex];
        assert_eq!(paths[..5], expected);
        assert_eq!(paths[5], format!("{regex}.expression"));
    }
}

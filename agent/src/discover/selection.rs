//! Which containers are read, by the operator's word: patterns of namespace, pod and container, and of pods' labels. A file that is left out is never opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::paths::PodDirectory;
use super::pod_labels::{PodLabelSelector, split_outside};
use crate::promtail::glob::Glob;

/// Patterns of containers; without any none is meant.
#[derive(Debug, Clone, Default)]
pub struct Containers(Vec<Pattern>);

impl Containers {
    /// Takes patterns, or `all`, or `none`.
    pub(crate) fn set(&mut self, text: &str) -> Result<(), String> {
        self.0 = match text.trim() {
            "all" => patterns("*")?,
            "none" => Vec::new(),
            text => patterns(text)?,
        };
        if self.0.iter().any(|pattern| pattern.labels.is_some()) {
            return Err("patterns of names alone, like `kube-system`, `shop/web-*` or `*/*/istio-proxy`".to_owned());
        }
        Ok(())
    }

    pub(crate) fn text(&self) -> String {
        match &*self.0 {
            [] => "none".to_owned(),
            [all] if all.text == "*" => "all".to_owned(),
            patterns => texts(patterns),
        }
    }

    pub(crate) fn holds(&self, pod: &PodDirectory, container: &str) -> bool {
        !self.0.is_empty() && is_among(&self.0, &path_of(pod, container), PodLabels::Unknown) == Some(true)
    }
}

/// What is known of the labels of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PodLabels<'a> {
    Known(&'a BTreeMap<String, String>),
    /// The Kubernetes API may tell them yet.
    Awaited,
    /// Nothing told them in time: no selector matches.
    Unknown,
}

/// Patterns of containers to read, and of those to leave out.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// `namespace`, `namespace/pod` or `namespace/pod/container`, each with `*` and `?`; behind it or alone a selector of pods' labels in braces.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    glob: Glob,
    labels: Option<PodLabelSelector>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (names, labels) = match text.split_once('{') {
            Some((names, rest)) => (names.trim_end(), Some(rest.strip_suffix('}').ok_or("a selector that ends in `}`, like `{app=web}`")?)),
            None => (text, None),
        };
        let labels = labels.map(PodLabelSelector::parse).transpose()?;
        let names = if names.is_empty() && labels.is_some() { "*" } else { names };
        let parts: Vec<&str> = names.split('/').collect();
        if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains("**")) {
            return Err("patterns like `kube-system`, `shop/web-*`, `*/*/istio-proxy` or `{app=web}`".to_owned());
        }
        let whole: Vec<&str> = parts.iter().copied().chain(std::iter::repeat("*")).take(3).collect();
        Ok(Self { text: text.to_owned(), glob: Glob::new(&whole.join("/")), labels })
    }

    /// `None` while labels are awaited that decide it.
    fn matches(&self, path: &Path, labels: PodLabels<'_>) -> Option<bool> {
        match (self.glob.matches(path), &self.labels, labels) {
            (false, ..) => Some(false),
            (true, None, _) => Some(true),
            (true, Some(selector), PodLabels::Known(labels)) => Some(selector.matches(labels)),
            (true, Some(_), PodLabels::Awaited) => None,
            (true, Some(_), PodLabels::Unknown) => Some(false),
        }
    }
}

impl Selection {
    /// Takes the containers to read; without any all are.
    pub(crate) fn set_include(&mut self, text: &str) -> Result<(), String> {
        self.include = patterns(text)?;
        Ok(())
    }

    /// Takes the containers to leave out; they go before those to read.
    pub(crate) fn set_exclude(&mut self, text: &str) -> Result<(), String> {
        self.exclude = patterns(text)?;
        Ok(())
    }

    pub(crate) fn include(&self) -> String {
        texts(&self.include)
    }

    pub(crate) fn exclude(&self) -> String {
        texts(&self.exclude)
    }

    /// Whether labels of pods decide anything.
    pub(crate) fn asks_for_labels(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(|pattern| pattern.labels.is_some())
    }

    /// Whether a container is to be read; `None` while labels are awaited that decide it.
    pub(crate) fn takes(&self, pod: &PodDirectory, container: &str, labels: PodLabels<'_>) -> Option<bool> {
        if self.include.is_empty() && self.exclude.is_empty() {
            return Some(true);
        }
        let path = path_of(pod, container);
        let is_included = if self.include.is_empty() { Some(true) } else { is_among(&self.include, &path, labels) };
        match (is_included, is_among(&self.exclude, &path, labels)) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
    }
}

fn path_of(pod: &PodDirectory, container: &str) -> PathBuf {
    [pod.namespace.as_str(), pod.pod.as_str(), container].iter().collect()
}

/// Whether any pattern matches; `None` if that hangs on labels that are awaited.
fn is_among(patterns: &[Pattern], path: &Path, labels: PodLabels<'_>) -> Option<bool> {
    let mut found = Some(false);
    for pattern in patterns {
        match pattern.matches(path, labels) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => found = None,
        }
    }
    found
}

fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    split_outside(text, '{', '}').map(str::trim).filter(|pattern| !pattern.is_empty()).map(Pattern::parse).collect()
}

fn texts(patterns: &[Pattern]) -> String {
    patterns.iter().map(|pattern| pattern.text.as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_chosen_by_namespace_pod_and_name() {
        let takes = |include: &str, exclude: &str, path: &str| {
            let mut selection = Selection::default();
            selection.set_include(include).unwrap();
            selection.set_exclude(exclude).unwrap();
            let (pod, container) = path.split_once('/').unwrap();
            selection.takes(&PodDirectory::parse(pod).unwrap(), container, PodLabels::Awaited) == Some(true)
        };
        for (include, exclude, path, expected) in [
            ("", "", "shop_web-1_u/app", true),
            ("shop", "", "shop_web-1_u/app", true),
            ("shop", "", "shop-b_web-1_u/app", false),
            ("shop*", "", "shop-b_web-1_u/app", true),
            ("shop/web-?", "", "shop_web-1_u/app", true),
            ("shop/db-*, other", "", "shop_web-1_u/app", false),
            ("", "*/*/istio-proxy", "shop_web-1_u/istio-proxy", false),
            ("shop", "*/*/istio-proxy", "shop_web-1_u/app", true),
            ("shop", "shop/web-1", "shop_web-1_u/app", false),
        ] {
            assert_eq!(takes(include, exclude, path), expected, "{include} {exclude} {path}");
        }
        let mut containers = Containers::default();
        let pod = PodDirectory::parse("shop_web-1_u").unwrap();
        for (text, shown, expected) in [("none", "none", false), ("all", "all", true), ("shop, x/y", "shop,x/y", true), ("x", "x", false)] {
            containers.set(text).unwrap();
            assert_eq!((containers.text().as_str(), containers.holds(&pod, "app")), (shown, expected));
        }
        for wrong in ["a/b/c/d", "a//c", "**"] {
            assert!(Selection::default().set_include(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pods_are_chosen_by_their_labels_once_those_are_known() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned()), ("tier".to_owned(), "test".to_owned())]);
        let pod = PodDirectory::parse("shop_web-1_u").unwrap();
        for (include, exclude, known, awaited, unknown) in [
            ("{app=web}", "", Some(true), None, Some(false)),
            ("{app=db}", "", Some(false), None, Some(false)),
            ("shop/*{app=web,tier!=live}, other", "", Some(true), None, Some(false)),
            ("other{app=web}", "", Some(false), Some(false), Some(false)),
            ("{app=db}, shop", "", Some(true), Some(true), Some(true)),
            ("", "{tier in (test,stage)}", Some(false), None, Some(true)),
            ("shop", "*/*/app {tier=live}", Some(true), None, Some(true)),
            ("other", "{tier=live}", Some(false), Some(false), Some(false)),
            ("{app=web}", "shop", Some(false), Some(false), Some(false)),
        ] {
            let mut selection = Selection::default();
            selection.set_include(include).unwrap();
            selection.set_exclude(exclude).unwrap();
            let takes = |labels| selection.takes(&pod, "app", labels);
            let all = (takes(PodLabels::Known(&labels)), takes(PodLabels::Awaited), takes(PodLabels::Unknown));
            assert_eq!(all, (known, awaited, unknown), "{include} {exclude}");
            assert_eq!(selection.asks_for_labels(), format!("{include}{exclude}").contains('{'));
        }
        for wrong in ["{app=web", "{}", "shop{app on web}", "a/b/c/d{app=web}"] {
            assert!(Selection::default().set_include(wrong).is_err(), "{wrong}");
        }
        assert!(Containers::default().set("{app=web}").is_err());
    }
}

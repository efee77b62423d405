//! Which containers are read, by the operator's word: patterns of namespace, pod and container. A file that is left out is never opened.

use std::path::{Path, PathBuf};

use super::paths::PodDirectory;
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
        let path = || [pod.namespace.as_str(), pod.pod.as_str(), container].iter().collect::<PathBuf>();
        !self.0.is_empty() && is_among(&self.0, &path())
    }
}

fn is_among(patterns: &[Pattern], path: &Path) -> bool {
    patterns.iter().any(|pattern| pattern.glob.matches(path))
}

/// Patterns of containers to read, and of those to leave out.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// `namespace`, `namespace/pod` or `namespace/pod/container`, each with `*` and `?`.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    glob: Glob,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains("**")) {
            return Err("patterns like `kube-system`, `shop/web-*` or `*/*/istio-proxy`".to_owned());
        }
        let whole: Vec<&str> = parts.iter().copied().chain(std::iter::repeat("*")).take(3).collect();
        Ok(Self { text: text.to_owned(), glob: Glob::new(&whole.join("/")) })
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

    /// Whether a container is to be read.
    pub(crate) fn takes(&self, pod: &PodDirectory, container: &str) -> bool {
        if self.include.is_empty() && self.exclude.is_empty() {
            return true;
        }
        let path: PathBuf = [pod.namespace.as_str(), pod.pod.as_str(), container].iter().collect();
        (self.include.is_empty() || is_among(&self.include, &path)) && !is_among(&self.exclude, &path)
    }
}

fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).map(Pattern::parse).collect()
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
            selection.takes(&PodDirectory::parse(pod).unwrap(), container)
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
}

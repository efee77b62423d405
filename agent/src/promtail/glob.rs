//! Paths by pattern: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any number of directories.
//!
//! Only directories that can hold a match are read. `**` does not follow symlinks, named directories do. The number of matches is bounded.

use std::fs;
use std::path::{Path, PathBuf};

/// Matches of one pattern.
const MAX_MATCHES: usize = 100_000;
/// Alternatives of one pattern.
const MAX_ALTERNATIVES: usize = 1024;

/// A pattern, its alternatives written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    alternatives: Vec<String>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { alternatives: alternatives(pattern) }
    }

    /// Existing paths that match, sorted, each once; directories are left out.
    pub(crate) fn find(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for pattern in &self.alternatives {
            if is_literal(pattern) {
                let path = PathBuf::from(unescaped(pattern));
                if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
                    found.push(path);
                }
                continue;
            }
            let start = if pattern.starts_with('/') { "/" } else { "" };
            let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
            walk(Path::new(start), &parts, &mut found);
        }
        found.sort();
        found.dedup();
        found
    }

    pub(crate) fn matches(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        self.alternatives.iter().any(|pattern| {
            let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
            pattern.starts_with('/') == text.starts_with('/') && match_parts(&parts, &names)
        })
    }

    /// The directories below which matches may come into being.
    pub(crate) fn base_directories(&self) -> Vec<PathBuf> {
        let base = |pattern: &String| {
            let parts: Vec<&str> = pattern.split('/').collect();
            let literal = parts.iter().take_while(|part| is_literal(part)).count().min(parts.len() - 1);
            let base = parts[..literal].join("/");
            PathBuf::from(if base.is_empty() && pattern.starts_with('/') { "/".to_owned() } else { base })
        };
        self.alternatives.iter().map(base).collect()
    }
}

fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '['])
}

fn unescaped(pattern: &str) -> String {
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        out.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    out
}

/// Writes out the braces of a pattern.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        match braces(&pattern) {
            Some((start, parts, end)) if open.len() + done.len() + parts.len() <= MAX_ALTERNATIVES => {
                open.extend(parts.into_iter().rev().map(|part| format!("{}{part}{}", &pattern[..start], &pattern[end..])));
            }
            _ => done.push(pattern),
        }
    }
    done
}

/// Start, parts and end of the first braces.
fn braces(pattern: &str) -> Option<(usize, Vec<String>, usize)> {
    let start = pattern.find('{')?;
    let (mut depth, mut part_start, mut parts) = (0, start + 1, Vec::new());
    for (at, character) in pattern.char_indices().skip_while(|(at, _)| *at < start) {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => {
                parts.push(pattern[part_start..at].to_owned());
                return Some((start, parts, at + 1));
            }
            '}' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(pattern[part_start..at].to_owned());
                part_start = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn walk(directory: &Path, parts: &[&str], found: &mut Vec<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else { return };
    if found.len() >= MAX_MATCHES {
        return;
    }
    if *part == "**" {
        walk(directory, rest, found);
        for entry in entries(directory) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), parts, found);
            } else if rest.is_empty() {
                found.push(entry.path());
            }
        }
        return;
    }
    if is_literal(part) {
        step(directory.join(unescaped(part)), rest, found);
        return;
    }
    for entry in entries(directory) {
        if match_name(part.as_bytes(), entry.file_name().to_string_lossy().as_bytes()) {
            step(entry.path(), rest, found);
        }
    }
}

fn step(path: PathBuf, rest: &[&str], found: &mut Vec<PathBuf>) {
    let is_directory = path.is_dir();
    if rest.is_empty() {
        if !is_directory && path.symlink_metadata().is_ok() {
            found.push(path);
        }
    } else if is_directory {
        walk(&path, rest, found);
    }
}

fn entries(directory: &Path) -> Vec<fs::DirEntry> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    fs::read_dir(directory).map(|entries| entries.flatten().collect()).unwrap_or_default()
}

fn match_parts(parts: &[&str], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=names.len()).any(|skip| match_parts(rest, &names[skip..])),
        (Some((part, parts)), Some((name, names))) => match_name(part.as_bytes(), name.as_bytes()) && match_parts(parts, names),
        _ => false,
    }
}

/// Whether a name matches a pattern without slashes.
fn match_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where to go on after the last star took one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, seen));
                at += 1;
                continue;
            }
            None if seen == name.len() => return true,
            None => None,
            Some(_) if seen == name.len() => None,
            Some(_) => match_one(&pattern[at..], name[seen]),
        };
        match (step, retry) {
            (Some(length), _) => {
                at += length;
                seen += 1;
            }
            (None, Some((star, from))) if from < name.len() => {
                retry = Some((star, from + 1));
                (at, seen) = (star + 1, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Length of the pattern's first element if it takes `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'\\' => (pattern.get(1) == Some(&byte)).then_some(2),
        b'[' => {
            let is_negated = matches!(pattern.get(1), Some(b'^' | b'!'));
            let start = 1 + usize::from(is_negated);
            let end = start + 1 + pattern.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
            let class = &pattern[start..end];
            let mut is_in = false;
            let mut at = 0;
            while at < class.len() {
                let is_range = class.get(at + 1) == Some(&b'-') && at + 2 < class.len();
                is_in |= if is_range { (class[at]..=class[at + 2]).contains(&byte) } else { class[at] == byte };
                at += if is_range { 3 } else { 1 };
            }
            (is_in != is_negated).then_some(end + 1)
        }
        same => (*same == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths() {
        for (pattern, path, expected) in [
            ("/a/*.log", "/a/b.log", true),
            ("/a/*.log", "/a/b/c.log", false),
            ("/a/**/*.log", "/a/c.log", true),
            ("/a/**/*.log", "/a/b/c/d.log", true),
            ("/a/*.{log,err}", "/a/x.err", true),
            ("/a/{x,y{1,2}}/z", "/a/y2/z", true),
            ("/a/[b-d]?.log", "/a/c1.log", true),
            ("/a/[^b-d].log", "/a/c.log", false),
            ("/a/*uid/c/*.log", "/a/ns_pod_uid/c/0.log", true),
            ("/a/\\*.log", "/a/x.log", false),
            ("/a/*a*b*c", "/a/xaybzbc", true),
            ("a.log", "/a.log", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(Path::new(path)), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn existing_files_are_found_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("x/y")).unwrap();
        for name in ["a.log", "x/b.log", "x/y/c.log", "x/y/d.txt"] {
            fs::write(path(name), b"").unwrap();
        }
        let find = |pattern: &str| Glob::new(&format!("{}/{pattern}", directory.path().display())).find();
        assert_eq!(find("**/*.log"), [path("a.log"), path("x/b.log"), path("x/y/c.log")]);
        assert_eq!(find("{a,a}.log"), [path("a.log")]);
        assert_eq!(find("x/*"), [path("x/b.log")]);
        assert_eq!(find("none/*.log"), Vec::<PathBuf>::new());
        assert_eq!(Glob::new("/a/b/*/c.log").base_directories(), [PathBuf::from("/a/b")]);
    }
}

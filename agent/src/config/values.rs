//! Values as texts: read from one, the error saying what would be right, and written as one.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a duration like `500ms` or `10s`".to_owned())
}

pub(super) fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// `256KiB`, `256kb`, `1MiB` or plain bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bytes = text.parse::<bytesize::ByteSize>().map(|size| size.as_u64()).map_err(|_| "a size like `256KiB`".to_owned())?;
    usize::try_from(bytes).map_err(|_| "a smaller size".to_owned())
}

pub(super) fn at_least_1k(bytes: usize) -> Result<usize, String> {
    if bytes >= 1024 { Ok(bytes) } else { Err("at least `1KiB`".to_owned()) }
}

pub(super) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "a whole number".to_owned())
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    chosen(text, &[("true", true), ("false", false)])
}

/// The value that a table has under the name `text`.
pub(super) fn chosen<T: Copy>(text: &str, table: &[(&str, T)]) -> Result<T, String> {
    let quoted = || table.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| format!("one of {}", quoted()))
}

/// The name under which a table has `value`.
pub(super) fn name_of<T: PartialEq>(value: &T, table: &[(&str, T)]) -> Option<String> {
    table.iter().find(|(_, known)| known == value).map(|(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_named_again_and_errors_say_what_there_is() {
        let table = [("slow", 1), ("drop", 2)];
        assert_eq!((chosen("drop", &table), name_of(&2, &table)), (Ok(2), Some("drop".to_owned())));
        assert_eq!(chosen("fast", &table), Err("one of `slow`, `drop`".to_owned()));
        assert_eq!(name_of(&3, &table), None);
        assert_eq!((truth("true"), truth("yes")), (Ok(true), Err("one of `true`, `false`".to_owned())));
        assert_eq!((whole::<u32>("7"), whole::<u32>("-1")), (Ok(7), Err("a whole number".to_owned())));
    }
}

//! What strace saw: calls with the lines at which they began and ended, whatever threads were in between.

use std::collections::BTreeMap;

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// Arguments and result as strace writes them, descriptors with their paths (`-y`).
    pub text: String,
    /// Line at which it began.
    pub began: usize,
    /// Line at which it had ended; `usize::MAX` if strace never saw that.
    pub ended: usize,
}

/// Reads the output of `strace -f -y -o FILE`, one process id before each line.
pub fn read(output: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in output.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some(index) = unfinished.remove(thread) {
                calls[index].ended = number;
                calls[index].text.push_str(resumed.split_once('>').map_or(resumed, |(_, text)| text));
            }
            continue;
        }
        let Some((name, text)) = rest.split_once('(') else { continue };
        if !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
            continue;
        }
        let is_unfinished = text.ends_with("<unfinished ...>");
        if is_unfinished {
            unfinished.insert(thread, calls.len());
        }
        let ended = if is_unfinished { usize::MAX } else { number };
        calls.push(Call { name: name.to_owned(), text: text.trim_end_matches("<unfinished ...>").to_owned(), began: number, ended });
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_several_threads_keep_their_begin_and_end() {
        let output =
            "7 fsync(9</a/x> <unfinished ...>\n8  write(3</a/y>, \"z\", 1) = 1\n7 <... fsync resumed>) = 0\n8 +++ exited with 0 +++\n";
        let calls = read(output);
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].name.as_str(), calls[0].text.as_str(), calls[0].began, calls[0].ended), ("fsync", "9</a/x> ) = 0", 0, 2));
        assert_eq!((calls[1].name.as_str(), calls[1].began, calls[1].ended), ("write", 1, 1));
    }

    #[test]
    fn a_call_that_never_ended_has_no_end() {
        assert_eq!(read("7 fsync(9</a/x> <unfinished ...>\n")[0].ended, usize::MAX);
    }
}

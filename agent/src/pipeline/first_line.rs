//! Which lines begin a block: those that match an expression, or, for stack traces, all that do not go on with one.
//!
//! What goes on with a trace depends on the lines of its block before it, and on nothing else: a replay that begins where the block does decides alike. A
//! line of which it is not sure that it goes on begins a block of its own, so that nothing is joined that does not belong together.

use super::regex::Expression;

/// How first lines are told.
#[derive(Debug, Clone)]
pub(crate) enum FirstLine {
    /// They match.
    Pattern(Expression),
    /// They do not go on with a stack trace of these languages.
    Traces(&'static [Language]),
}

/// Whose stack traces are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Java,
    Python,
    Go,
    Node,
    Ruby,
    DotNet,
    Php,
}

/// Node's before the others that have frames with `at`, since it alone looks at their ends.
const ALL: &[Language] = &[Language::Node, Language::Java, Language::Python, Language::Go, Language::Ruby, Language::DotNet, Language::Php];

/// What a block of traces has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TraceState {
    /// Nothing that asks for more than indented frames.
    #[default]
    Plain,
    /// Frames of a Python traceback, up to its exception.
    PythonFrames,
    /// The exception was told; another traceback may follow.
    PythonException,
    /// Between two tracebacks that belong together.
    PythonChain,
    /// A Go panic or a dump of goroutines.
    Go,
    /// Where Node found the error: its line of source, a mark and a blank line follow.
    NodeSource { lines: u8 },
    /// Properties of a Node error, up to a closing brace.
    NodeProperties,
    /// Numbered frames.
    Php,
}

impl FirstLine {
    /// Traces by the name of a language, or `auto` for all.
    pub(crate) fn traces(name: &str) -> Option<Self> {
        let languages: &'static [Language] = match name {
            "auto" => ALL,
            "java" => &[Language::Java],
            "python" => &[Language::Python],
            "go" => &[Language::Go],
            "node" => &[Language::Node],
            "ruby" => &[Language::Ruby],
            "dotnet" => &[Language::DotNet],
            "php" => &[Language::Php],
            _ => return None,
        };
        Some(Self::Traces(languages))
    }

    /// What a pod asks for by annotation: the name of a language, or an expression; the error says what is wrong with that.
    pub(crate) fn of_wish(text: &str) -> Result<Self, String> {
        Self::traces(text).map_or_else(|| Expression::parse(text).map(Self::Pattern), Ok)
    }

    /// Whether `line` begins a block, and in what state; `before`: of the block that is open.
    pub(super) fn begins(&self, before: Option<TraceState>, line: &str) -> (bool, TraceState) {
        match self {
            Self::Pattern(expression) => (expression.is_match(line), TraceState::Plain),
            Self::Traces(languages) => match goes_on(languages, before, line) {
                Some(state) => (false, state),
                None => (true, state_of(languages, line)),
            },
        }
    }
}

/// The state of a block that begins with `line`.
fn state_of(languages: &[Language], line: &str) -> TraceState {
    let knows = |language| languages.contains(&language);
    if knows(Language::Python) && line == "Traceback (most recent call last):" {
        TraceState::PythonFrames
    } else if knows(Language::Go) && (line.starts_with("panic: ") || line.starts_with("fatal error: ") || is_goroutine(line)) {
        TraceState::Go
    } else if knows(Language::Node) && is_source_place(line) {
        TraceState::NodeSource { lines: 0 }
    } else {
        TraceState::Plain
    }
}

/// The state after a line that goes on with a trace; `None` if it does not, or if no block is open and it is no frame.
fn goes_on(languages: &[Language], before: Option<TraceState>, line: &str) -> Option<TraceState> {
    let state = before.unwrap_or_default();
    if before.is_some()
        && let Some(next) = follows(state, line)
    {
        return Some(next);
    }
    let text = line.trim_start();
    let is_indented = text.len() < line.len() && !text.is_empty();
    languages.iter().find_map(|language| frame(*language, state, line, text, is_indented))
}

/// What the state of a block asks for.
fn follows(state: TraceState, line: &str) -> Option<TraceState> {
    let is_indented = line.starts_with([' ', '\t']);
    match state {
        TraceState::Plain => None,
        TraceState::PythonFrames if is_indented || line.is_empty() => Some(state),
        TraceState::PythonFrames => is_exception(line).then_some(TraceState::PythonException),
        TraceState::PythonException if line.is_empty() => Some(TraceState::PythonChain),
        TraceState::PythonException => None,
        TraceState::PythonChain => match line {
            "" => Some(state),
            "During handling of the above exception, another exception occurred:"
            | "The above exception was the direct cause of the following exception:" => Some(state),
            "Traceback (most recent call last):" => Some(TraceState::PythonFrames),
            _ => None,
        },
        TraceState::Go => is_of_goroutine(line).then_some(state),
        TraceState::NodeSource { lines } => {
            let is_next = match lines {
                0 => true,
                1 => line.contains('^') && line.trim_matches([' ', '\t', '^']).is_empty(),
                2 => line.is_empty(),
                3 => is_exception(line),
                _ => false,
            };
            is_next.then_some(if lines == 3 { TraceState::Plain } else { TraceState::NodeSource { lines: lines + 1 } })
        }
        TraceState::NodeProperties => {
            let is_end = line == "}";
            (is_end || is_indented).then_some(if is_end { TraceState::Plain } else { state })
        }
        TraceState::Php => {
            line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_digit())).then_some(state)
        }
    }
}

/// A line that in this language is part of a trace whatever came before it.
fn frame(language: Language, state: TraceState, line: &str, text: &str, is_indented: bool) -> Option<TraceState> {
    let is_part = match language {
        Language::Java => {
            let is_frame =
                text.starts_with("at ") || text.starts_with("Suppressed: ") || text.starts_with("Caused by: ") || is_elision(text);
            (is_indented && is_frame) || line.starts_with("Caused by: ")
        }
        Language::Node if is_indented && text.starts_with("at ") => {
            return Some(if line.ends_with('{') { TraceState::NodeProperties } else { TraceState::Plain });
        }
        Language::Ruby => is_indented && (text.starts_with("from ") || is_numbered_caller(text)),
        Language::DotNet => {
            (is_indented && (text.starts_with("at ") || text.starts_with("--- ")))
                || line.starts_with("--- End of ")
                || line.starts_with(" ---> ")
        }
        Language::Php if line == "Stack trace:" || line == "PHP Stack trace:" => return Some(TraceState::Php),
        Language::Php => is_indented && text.starts_with("thrown in "),
        Language::Python | Language::Go | Language::Node => false,
    };
    is_part.then_some(state)
}

/// `ValueError: what`, `package.Error`, `KeyboardInterrupt`.
fn is_exception(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    name.starts_with(|character: char| character.is_alphabetic() || character == '_')
        && name.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '.'))
}

/// `... 12 more`, `... 3 common frames omitted`.
fn is_elision(text: &str) -> bool {
    text.strip_prefix("... ").is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_digit()))
}

/// `3: from a.rb:1:in 'f'`
fn is_numbered_caller(text: &str) -> bool {
    text.split_once(": from ").is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `goroutine 1 [running]:`
fn is_goroutine(line: &str) -> bool {
    line.strip_prefix("goroutine ")
        .is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_digit()) && rest.ends_with("]:"))
}

fn is_of_goroutine(line: &str) -> bool {
    let is_call = line.ends_with(')') && line.split('(').next().is_some_and(|name| !name.is_empty() && !name.contains(' '));
    line.is_empty()
        || line.starts_with('\t')
        || is_goroutine(line)
        || is_call
        || ["[signal ", "created by ", "exit status ", "panic: ", "...additional frames elided..."]
            .iter()
            .any(|start| line.starts_with(start))
}

/// `/app/index.js:12`
fn is_source_place(line: &str) -> bool {
    let Some((path, number)) = line.rsplit_once(':') else { return false };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && !path.contains(' ') && [".js", ".mjs", ".cjs", ".ts"].iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of lines of the blocks that `text` makes.
    fn blocks(name: &str, text: &str) -> Vec<usize> {
        let first_line = FirstLine::traces(name).unwrap();
        let mut blocks: Vec<usize> = Vec::new();
        let mut state = None;
        for line in text.lines() {
            let (is_first, next) = first_line.begins(state, line);
            match blocks.last_mut().filter(|_| !is_first && state.is_some()) {
                Some(last) => *last += 1,
                None => blocks.push(1),
            }
            // Without an open block a line that goes on with one passes singly.
            state = (is_first || state.is_some()).then_some(next);
        }
        blocks
    }

    const JAVA: &str = "java.lang.IllegalStateException: boom\n\tat shop.Cart.add(Cart.java:12)\n\tat shop.Main.main(Main.java:3)\n\
                        Caused by: java.io.IOException: gone\n\tat shop.Db.get(Db.java:9)\n\t... 2 more";
    const PYTHON: &str = "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    f()\n    ~^^\nValueError: no\n\n\
                          During handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  \
                          File \"a.py\", line 5, in <module>\n    g()\nshop.errors.Lost: x";
    const GO: &str = "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/app/main.go:8\n\
                      main.main()\n\t/app/main.go:12 +0x1d\nexit status 2";
    const NODE: &str = "/app/index.js:3\n    throw new TypeError('x');\n    ^\n\nTypeError: x\n    at f (/app/index.js:3:9)\n    at g (/app/index.js:7:1) {\n  code: 'E'\n}";
    const RUBY: &str = "a.rb:2:in `f': boom (RuntimeError)\n\tfrom a.rb:5:in `g'\n\tfrom a.rb:8:in `<main>'";
    const DOTNET: &str = "Unhandled exception. System.InvalidOperationException: boom\n ---> System.IO.IOException: gone\n   at Shop.Db.Get() in /app/Db.cs:line 9\n   \
                          --- End of inner exception stack trace ---\n   at Shop.Main(String[] args)\n--- End of stack trace from previous location ---\n   at X.Y()";
    const PHP: &str = "PHP Fatal error:  Uncaught Exception: boom in /app/a.php:3\nStack trace:\n#0 /app/a.php(7): f()\n#1 {main}\n  thrown in /app/a.php on line 3";

    #[test]
    fn a_trace_is_one_block_between_lines_that_are_others() {
        for (name, trace) in
            [("java", JAVA), ("python", PYTHON), ("go", GO), ("node", NODE), ("ruby", RUBY), ("dotnet", DOTNET), ("php", PHP)]
        {
            let length = trace.lines().count();
            let text = format!("INFO one\nINFO two\n{trace}\nINFO three\n{trace}\nlast");
            let expected = vec![1, 1, length, 1, length, 1];
            assert_eq!(blocks(name, &text), expected, "{name}");
            assert_eq!(blocks("auto", &text), expected, "{name} among all");
        }
    }

    #[test]
    fn what_only_looks_like_a_trace_is_not_joined() {
        for text in
            ["ValueError: one\nValueError: two", "  indented\n  again", "{\n\"a\": 1\n}", "main.main()\nmain.main()", "#1 first\n#2 second"]
        {
            assert_eq!(blocks("auto", text), vec![1; text.lines().count()], "{text}");
        }
        assert_eq!(blocks("python", JAVA), vec![1; JAVA.lines().count()], "of another language");
    }

    #[test]
    fn a_frame_without_a_block_stands_alone() {
        assert_eq!(blocks("java", "\tat a.B.c(D.java:1)\n\tat a.B.c(D.java:2)\nx\n\tat a.B.c(D.java:1)"), [1, 1, 2]);
    }

    #[test]
    fn names_are_those_of_the_languages() {
        assert!(FirstLine::traces("auto").is_some() && FirstLine::traces("cobol").is_none());
    }
}

//! One thing that was looked at. The aggregator's doctor tells what it sees in the same form.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Works, and may not for long, or not for everything.
    Warning,
    /// Lines do not arrive because of it.
    Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in one or two words.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
    /// Where something is wrong: what to do.
    pub advice: String,
}

impl Finding {
    pub fn fine(check: &'static str, evidence: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fine, evidence: evidence.into(), advice: String::new() }
    }

    pub fn warning(check: &'static str, evidence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, evidence: evidence.into(), advice: advice.into() }
    }

    pub fn problem(check: &'static str, evidence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Problem, evidence: evidence.into(), advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "PROBLEM",
        };
        writeln!(f, "{verdict:<8} {:<18} {}", self.check, self.evidence)?;
        if !self.advice.is_empty() {
            writeln!(f, "{:<27} do: {}", "", self.advice)?;
        }
        Ok(())
    }
}

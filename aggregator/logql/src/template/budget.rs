//! What one execution may use up, whatever its template and its data are.
//!
//! Templates can loop over what lines bring, call each other, and make texts grow; each of these is counted here.
//! Exceeding a bound is an error of the execution, as any other.

/// Nodes evaluated in one execution.
const MAXIMUM_STEPS: u32 = 1_000_000;
/// Bytes of all texts made in one execution, the output among them.
const MAXIMUM_TEXT: usize = 2 << 20;
/// Blocks, parentheses and templates open at the same time. Bounds the stack.
const MAXIMUM_DEPTH: u32 = 200;

#[derive(Debug)]
pub(super) struct Budget {
    steps: u32,
    text: usize,
    depth: u32,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget { steps: MAXIMUM_STEPS, text: MAXIMUM_TEXT, depth: MAXIMUM_DEPTH }
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        self.steps = self.steps.checked_sub(1).ok_or_else(|| format!("more than {MAXIMUM_STEPS} steps"))?;
        Ok(())
    }

    /// To be asked before a text of this size is made.
    pub(super) fn text(&mut self, bytes: usize) -> Result<(), String> {
        self.text = self.text.checked_sub(bytes).ok_or_else(|| format!("more than {MAXIMUM_TEXT} bytes of text"))?;
        Ok(())
    }

    pub(super) fn descend(&mut self) -> Result<(), String> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| format!("exceeded maximum template depth ({MAXIMUM_DEPTH})"))?;
        Ok(())
    }

    pub(super) fn ascend(&mut self) {
        self.depth += 1;
    }
}

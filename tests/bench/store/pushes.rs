//! Reads `pushes.bin` request by request.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use tailwater_e2e::wire::decompressed;
use tailwater_proto::read;

use crate::progress::Progress;

const BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Pushes {
    file: BufReader<File>,
    /// Bytes of the file, and how many of them were read.
    pub length: u64,
    pub position: u64,
}

/// One line with what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PushedLine<'a> {
    /// The labels of its stream as text, `{app="…", …}`.
    pub labels: &'a str,
    pub timestamp: i64,
    pub line: &'a [u8],
}

impl Pushes {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(BUFFER, file), length, position: 0 })
    }

    /// The next request's body, compressed as it is sent; nothing at the end.
    pub(crate) fn next_body(&mut self) -> Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        let length = u32::from_le_bytes(length);
        let mut body = vec![0; length as usize];
        self.file.read_exact(&mut body).context("the file of pushes is cut")?;
        self.position += u64::from(length) + 4;
        Ok(Some(body))
    }
}

/// Gives `visit` the decompressed requests of a file, one after the other.
pub(crate) fn walk(name: &str, path: &Path, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut pushes = Pushes::open(path)?;
    let mut progress = Progress::start(name);
    while let Some(body) = pushes.next_body()? {
        visit(&decompressed(&body)?)?;
        progress.part(pushes.position, pushes.length);
    }
    progress.done();
    Ok(())
}

/// Gives `visit` the lines of a decompressed request.
pub(crate) fn each_line(request: &[u8], mut visit: impl FnMut(PushedLine<'_>)) -> Result<()> {
    for stream in read::streams(request) {
        let stream = stream?;
        let labels = std::str::from_utf8(stream.labels()?).context("labels are no text")?;
        for entry in stream.entries() {
            let entry = entry?;
            let timestamp = entry.timestamp().context("a line has no stamp")?;
            visit(PushedLine { labels, timestamp, line: entry.line });
        }
    }
    Ok(())
}

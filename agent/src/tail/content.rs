//! The bytes of a file as they are read: as they stand, or decompressed on the way.
//!
//! Offsets count decompressed bytes. A compressed file is read from front to back; going back begins anew. It is whole: when its end is reached, nothing
//! more is expected.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::promtail::jobs::CompressedFormat;

pub(super) struct Content {
    compressed: Option<Decompressing>,
}

struct Decompressing {
    format: CompressedFormat,
    decoder: Option<Box<dyn Read + Send>>,
    /// Decompressed bytes the decoder gave.
    position: u64,
    /// The bytes before `position` that were read last: an incomplete record is read again.
    recent: Vec<u8>,
    is_over: bool,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("format", &self.compressed.as_ref().map(|content| content.format)).finish()
    }
}

impl Content {
    pub(super) fn new(format: Option<CompressedFormat>) -> Self {
        Self { compressed: format.map(|format| Decompressing { format, decoder: None, position: 0, recent: Vec::new(), is_over: false }) }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }

    /// A compressed file was read to its end.
    pub(super) fn is_over(&self) -> bool {
        self.compressed.as_ref().is_some_and(|content| content.is_over)
    }

    /// Not everything that was read was taken.
    pub(super) fn reopen(&mut self) {
        if let Some(content) = &mut self.compressed {
            content.is_over = false;
        }
    }

    /// Reads at `offset`; fewer bytes than `buffer` takes mean the end.
    pub(super) fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &mut self.compressed {
            None => retried(|| file.read_at(buffer, offset)),
            Some(content) => content.read_at(file, buffer, offset),
        }
    }
}

impl Decompressing {
    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let recent_start = self.position - self.recent.len() as u64;
        if self.decoder.is_none() || recent_start > offset {
            let file = Positioned { file: file.try_clone()?, offset: 0 };
            self.decoder = Some(match self.format {
                CompressedFormat::Gzip => Box::new(MultiGzDecoder::new(file)),
                CompressedFormat::Zlib => Box::new(ZlibDecoder::new(file)),
                CompressedFormat::Bzip2 => Box::new(MultiBzDecoder::new(file)),
            });
            self.position = 0;
            self.recent.clear();
        }
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        while self.position < offset {
            let room = usize::try_from(offset - self.position).unwrap_or(usize::MAX).min(buffer.len());
            let count = retried(|| decoder.read(&mut buffer[..room]))?;
            if count == 0 {
                self.is_over = true;
                return Ok(0);
            }
            self.position += count as u64;
            self.recent.clear();
        }
        // What was read already comes first.
        let again = usize::try_from(self.position - offset).unwrap_or(0).min(buffer.len());
        let start = self.recent.len() - usize::try_from(self.position - offset).unwrap_or(0);
        buffer[..again].copy_from_slice(&self.recent[start..start + again]);
        let mut filled = again;
        while filled < buffer.len() {
            let count = retried(|| decoder.read(&mut buffer[filled..]))?;
            if count == 0 {
                self.is_over = true;
                break;
            }
            filled += count;
        }
        if filled > again || offset + filled as u64 >= self.position {
            self.position += (filled - again) as u64;
            self.recent.clear();
            self.recent.extend_from_slice(&buffer[..filled]);
        }
        Ok(filled)
    }
}

/// Reads a file without moving anyone else's place in it.
struct Positioned {
    file: File,
    offset: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn retried(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn all_formats_are_read_at_any_offset() {
        let text: Vec<u8> = (0..10_000).map(|number| b'a' + (number % 23) as u8).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        for (format, bytes) in [
            (CompressedFormat::Gzip, gzip.finish().unwrap()),
            (CompressedFormat::Zlib, zlib.finish().unwrap()),
            (CompressedFormat::Bzip2, bzip2.finish().unwrap()),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let mut content = Content::new(Some(format));
            let mut buffer = [0; 1000];
            for offset in [0_usize, 500, 9000, 100] {
                assert_eq!(content.read_at(&file, &mut buffer, offset as u64).unwrap(), 1000, "{format:?}");
                assert_eq!(buffer, text[offset..offset + 1000], "{format:?} at {offset}");
            }
            assert!(!content.is_over());
            assert_eq!(content.read_at(&file, &mut buffer, 9990).unwrap(), 10);
            assert!(content.is_over());
        }
    }
}

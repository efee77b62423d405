//! The bytes of a file as they are read: as they stand, or decompressed on the way.
//!
//! Offsets count decompressed bytes. A compressed file is read from front to back; going back begins anew. It is whole: when its end is reached, nothing
//! more is expected. Of a rotated file that cannot be decompressed to its end the part before the damage is read. Holes of sparse files are skipped where
//! the file system tells them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::fingerprint::Head;
use crate::promtail::jobs::CompressedFormat;

pub(super) struct Content {
    compressed: Option<Box<Decompressing>>,
}

struct Decompressing {
    format: CompressedFormat,
    decoder: Option<Box<dyn Read + Send>>,
    /// Decompressed bytes the decoder gave.
    position: u64,
    /// The bytes before `position` that were read last: an incomplete record is read again.
    recent: Vec<u8>,
    is_over: bool,
    /// Nobody writes to it any more: what cannot be decompressed is lost, and not tried again.
    is_settled: bool,
    is_damaged: bool,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("format", &self.compressed.as_ref().map(|content| content.format)).finish()
    }
}

impl Content {
    pub(super) fn new(format: Option<CompressedFormat>) -> Self {
        let compressed = format.map(|format| {
            Box::new(Decompressing {
                format,
                decoder: None,
                position: 0,
                recent: Vec::new(),
                is_over: false,
                is_settled: false,
                is_damaged: false,
            })
        });
        Self { compressed }
    }

    /// Of a rotated file that the kubelet compressed.
    pub(super) fn of_rotated() -> Self {
        let mut content = Self::new(Some(CompressedFormat::Gzip));
        content.compressed.iter_mut().for_each(|content| content.is_settled = true);
        content
    }

    /// It is the compressed copy of a rotated file, which nobody writes to.
    pub(super) fn is_rotated(&self) -> bool {
        self.compressed.as_ref().is_some_and(|content| content.is_settled)
    }

    /// Its end could not be decompressed.
    pub(super) fn is_damaged(&self) -> bool {
        self.compressed.as_ref().is_some_and(|content| content.is_damaged)
    }

    /// Everything before `offset` was taken and is not asked for again.
    pub(super) fn forget_before(&mut self, offset: u64) {
        if let Some(content) = &mut self.compressed {
            let kept = usize::try_from(content.position.saturating_sub(offset)).unwrap_or(usize::MAX).min(content.recent.len());
            content.recent = content.recent[content.recent.len() - kept..].to_vec();
        }
    }

    /// Where the next bytes that are not part of a hole begin, at or after `offset`; `size` if there are none.
    pub(super) fn next_data(&self, file: &File, offset: u64, size: u64) -> u64 {
        if self.is_compressed() {
            return offset;
        }
        let Ok(from) = i64::try_from(offset) else { return offset };
        match lseek(file, from, Whence::SeekData) {
            Ok(data) => u64::try_from(data).unwrap_or(offset).clamp(offset, size.max(offset)),
            Err(Errno::ENXIO) => size.max(offset),
            // A file system that does not tell.
            Err(_) => offset,
        }
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
            let count = settled(retried(|| decoder.read(&mut buffer[..room])), self.is_settled, &mut self.is_damaged)?;
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
            let count = settled(retried(|| decoder.read(&mut buffer[filled..])), self.is_settled, &mut self.is_damaged)?;
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

/// Damage is the end of a settled file, and an error in any other.
fn settled(read: io::Result<usize>, is_settled: bool, is_damaged: &mut bool) -> io::Result<usize> {
    match read {
        Err(error) if is_settled && is_damage(&error) => {
            *is_damaged = true;
            Ok(0)
        }
        read => read,
    }
}

/// Whether bytes were read and make no sense, as opposed to not being readable.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof)
}

/// The first bytes of what is compressed in `file`; `None` if they cannot be decompressed.
pub(super) fn decompressed_head(file: &File) -> io::Result<Option<Head>> {
    let decoder = MultiGzDecoder::new(Positioned { file: file.try_clone()?, offset: 0 });
    match Head::read_from(decoder) {
        Ok(head) => Ok(Some(head)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of decompressed bytes as the file's last four bytes tell it: modulo 2^32, of its last member.
pub(super) fn told_size(file: &File, size: u64) -> io::Result<Option<u32>> {
    let Some(at) = size.checked_sub(4) else { return Ok(None) };
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, at)?;
    Ok(Some(u32::from_le_bytes(bytes)))
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

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_rotated_file_cut_in_the_middle_is_read_to_the_damage_and_says_so() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_le_bytes()).collect();
        let bytes = gzipped(&text);
        let file = file_of(&bytes[..bytes.len() / 2]);
        let (mut content, mut buffer, mut offset) = (Content::of_rotated(), vec![0; 4096], 0);
        while !content.is_over() {
            let count = content.read_at(&file, &mut buffer, offset as u64).unwrap();
            assert_eq!(buffer[..count], text[offset..offset + count]);
            offset += count;
            content.forget_before(offset as u64);
        }
        assert!(content.is_damaged() && offset > text.len() / 4, "{offset} of {}", text.len());
    }

    #[test]
    fn head_and_size_of_a_compressed_file_are_those_of_its_content() {
        let text = b"2026-11-21T09:00:00Z stdout F x\n".repeat(100);
        let bytes = gzipped(&text);
        let file = file_of(&bytes);
        assert_eq!(decompressed_head(&file).unwrap().unwrap().as_bytes(), &text[..256]);
        assert_eq!(told_size(&file, bytes.len() as u64).unwrap(), Some(3200));
        assert!(decompressed_head(&file_of(b"no gzip at all")).unwrap().is_none());
        assert!(decompressed_head(&file_of(b"")).unwrap().is_none_or(|head| head.as_bytes().is_empty()));
    }

    #[test]
    fn holes_are_skipped_to_the_next_data_or_the_end() {
        let file = file_of(b"text");
        file.set_len(1 << 30).unwrap();
        file.write_all_at(b"more", 512 << 20).unwrap();
        let content = Content::new(None);
        assert_eq!(content.next_data(&file, 1 << 20, 1 << 30), 512 << 20);
        assert_eq!(content.next_data(&file, 600 << 20, 1 << 30), 1 << 30);
    }
}

//! Pages as stored, each with its checksum.

use parquet::column::page::{CompressedPage, PageWriteSpec, PageWriter};
use parquet::errors::Result;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

/// The pages of one column chunk, serialised end to end.
#[derive(Debug, Default)]
pub(crate) struct ChunkPages {
    pub(crate) bytes: Vec<u8>,
    /// CRC-32C of each page (header and data), in order.
    pub(crate) checksums: Vec<u32>,
}

/// Writes pages into a [`ChunkPages`].
pub(crate) struct CheckedPageWriter<'a> {
    inner: TrackedWrite<&'a mut Vec<u8>>,
    checksums: &'a mut Vec<u32>,
}

impl<'a> CheckedPageWriter<'a> {
    pub(crate) fn new(chunk: &'a mut ChunkPages) -> Self {
        Self { inner: TrackedWrite::new(&mut chunk.bytes), checksums: &mut chunk.checksums }
    }
}

impl PageWriter for CheckedPageWriter<'_> {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let spec = SerializedPageWriter::new(&mut self.inner).write_page(page)?;
        // The page index refers to pages from the data page on, the dictionary page's place is known from the chunk.
        self.inner_flush()?;
        let stored = self.inner.inner();
        let start = stored.len() - spec.bytes_written as usize;
        self.checksums.push(crc32c::crc32c(&stored[start..]));
        Ok(spec)
    }

    fn close(&mut self) -> Result<()> {
        self.inner_flush()
    }
}

impl CheckedPageWriter<'_> {
    /// The tracked writer buffers; its sink must hold the page before it is summed.
    fn inner_flush(&mut self) -> Result<()> {
        use std::io::Write as _;
        Ok(self.inner.flush()?)
    }
}

//! Writes Parquet in the format of data files, without a text index: of level 0, which no file in a store has. A row group never spans two days.

use std::io::Write;

use bytes::Bytes;

use crate::compact::output::{FileBuilder, FileSpec};
use crate::entry::{StreamId, TenantId};
use crate::pairs::Pairs;
use crate::store::Day;
use crate::transfer::error::ExportError;
use crate::transfer::export::{ExportedRows, RowWriter};

/// zstd's; the store's own.
const ZSTD_LEVEL: i32 = 1;

/// Writes one file.
pub struct ParquetWriter<W> {
    output: W,
    /// `None` once it is finished.
    builder: Option<FileBuilder>,
    written_groups: usize,
}

impl<W: Write> ParquetWriter<W> {
    /// `first`: where the export begins (ns). `now`: nanoseconds since the epoch.
    pub fn new(output: W, tenant: TenantId, first: i64, now: i64) -> Result<Self, ExportError> {
        let spec =
            FileSpec { tenant, day: Day::of(first), level: 0, zstd_level: ZSTD_LEVEL, fill: None, arrived: now, created: now, as_of: 0 };
        Ok(Self { output, builder: Some(FileBuilder::new(spec)?), written_groups: 0 })
    }

    fn builder(&mut self) -> &mut FileBuilder {
        self.builder.as_mut().expect("nothing comes after the end")
    }

    fn write_ready(&mut self) -> Result<(), ExportError> {
        let groups = self.builder().row_groups();
        if groups > self.written_groups {
            self.written_groups = groups;
            let ready = self.builder().drain()?;
            self.write_pieces(ready)?;
        }
        Ok(())
    }

    fn write_pieces(&mut self, pieces: Vec<Bytes>) -> Result<(), ExportError> {
        Ok(pieces.iter().try_for_each(|piece| self.output.write_all(piece))?)
    }
}

impl<W: Write + Send> RowWriter for ParquetWriter<W> {
    fn begin_stream(&mut self, id: StreamId, labels: &Pairs) -> Result<(), ExportError> {
        self.builder().begin_stream(id, labels);
        Ok(())
    }

    fn rows(&mut self, ExportedRows { run, rows }: ExportedRows<'_>) -> Result<(), ExportError> {
        self.builder().take(run, rows.start, rows.len())?;
        self.write_ready()
    }

    /// A stream stands once in a row group.
    fn end_day(&mut self) -> Result<(), ExportError> {
        self.builder().end_row_group()?;
        self.write_ready()
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        self.write_pieces(builder.finish()?.rest)?;
        Ok(self.output.flush()?)
    }
}

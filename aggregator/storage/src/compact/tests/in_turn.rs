//! Files that follow one another in time are read one after the other, not all at once.

use super::*;
use crate::compact::merge::Sink;
use crate::compact::run::Run;
use crate::compact::source::Source;
use crate::compact::streams::{Streams, merge_streams};
use crate::entry::StreamId;

#[derive(Default)]
struct Rows(usize);

impl Sink for Rows {
    fn begin_stream(&mut self, _: StreamId, _: &Pairs, _: u64) {}

    async fn append(&mut self, _: &Run, _: usize, length: usize) -> Result<(), CompactError> {
        self.0 += length;
        Ok(())
    }
}

#[tokio::test]
async fn a_file_is_not_read_before_its_first_row_is_due() {
    let mut world = World::new();
    let compactor = world.compactor(&world.catalog, CompactionOptions::default());
    for entries in [[(0, 1, 1, 0), (0, 2, 2, 0), (0, 3, 3, 0)], [(0, 4, 4, 0), (0, 5, 5, 0), (0, 6, 6, 0)]] {
        world.flush("W", true, &entries).await;
        compactor.fold(&tenant(), nothing(), FoldWhen::AtOnce).await.expect("folds").expect("there was a segment");
    }
    let mut files: Vec<_> = world.catalog.manifest(&tenant()).files().cloned().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.min_timestamp));
    let mut sources = Vec::new();
    for file in &files {
        let parts = world.catalog.data_file(&tenant(), file.clone()).await.expect("there").to_vec();
        sources.push((Source::new(world.catalog.clone(), parts, 1 << 20), None));
    }
    // The later one stands first and cannot be read.
    world.store.delete(&files[0].key(&tenant())).await.expect("deletes");
    let mut rows = Rows::default();
    let merged = merge_streams(&mut sources, &Streams::all(), &mut rows).await;
    assert!(matches!(merged, Err(CompactError::Read(_))), "{merged:?}");
    assert_eq!(rows.0, 3, "all rows of the earlier file came before");
}

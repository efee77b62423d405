//! Verifies a text index: its header, that its granules are the pages of the file, and every block.

use std::ops::Range;

use tailwater_textindex::{IndexHeader, PREFIX_LENGTH};

use crate::catalog::first_granules;
use crate::error::ReadError;
use crate::file::read::FileFooter;
use crate::fsck::file::FETCH_BYTES;
use crate::store::Store;

/// What is wrong with the index of a file; nothing, if it has none.
pub(super) async fn check(store: &Store, key: &str, footer: &FileFooter) -> Result<Vec<String>, ReadError> {
    let place = footer.index.clone();
    if place.is_empty() {
        return Ok(Vec::new());
    }
    let header = match header(store, key, &place).await? {
        Ok(header) => header,
        Err(fault) => return Ok(vec![fault]),
    };
    if header.index_length() != place.end - place.start {
        return Ok(vec![format!("its text index has {} bytes instead of {}", place.end - place.start, header.index_length())]);
    }
    let mut faults = Vec::new();
    if first_granules(&header, footer).is_none() {
        faults.push("its text index is not of its pages".to_owned());
    }
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut blocks = header.blocks().peekable();
    while let Some(block) = blocks.next() {
        let range = header.block_range(block);
        bytes += range.end - range.start;
        group.push((block, place.start + range.start..place.start + range.end));
        if bytes < FETCH_BYTES && blocks.peek().is_some() {
            continue;
        }
        let ranges: Vec<Range<u64>> = group.iter().map(|(_, range)| range.clone()).collect();
        for ((block, _), bytes) in group.drain(..).zip(store.ranges(key, &ranges).await?) {
            if let Err(error) = header.open_block(block, &bytes) {
                faults.push(error.to_string());
            }
        }
        bytes = 0;
    }
    Ok(faults)
}

async fn header(store: &Store, key: &str, place: &Range<u64>) -> Result<Result<IndexHeader, String>, ReadError> {
    let whole = place.end - place.start;
    let prefix = first(store, key, place, (PREFIX_LENGTH as u64).min(whole)).await?;
    let length = match IndexHeader::length(&prefix) {
        Ok(length) if length as u64 <= whole => length as u64,
        Ok(length) => return Ok(Err(format!("the header of its text index has {length} bytes, the whole index {whole}"))),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let bytes = first(store, key, place, length).await?;
    Ok(IndexHeader::parse(&bytes).map_err(|error| error.to_string()))
}

async fn first(store: &Store, key: &str, place: &Range<u64>, length: u64) -> Result<bytes::Bytes, ReadError> {
    let range = place.start..place.start + length;
    Ok(store.ranges(key, std::slice::from_ref(&range)).await?.pop().unwrap_or_default())
}

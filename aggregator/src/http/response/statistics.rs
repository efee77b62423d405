//! The `stats` block: every key that clients of Loki may read. What has no meaning here is 0.

use serde_json::{Value, json};
use tailwater_engine::answer::Statistics;

const NANOSECONDS: f64 = 1e9;

/// Appends `"stats":{…}`.
pub(crate) fn write_statistics(out: &mut Vec<u8>, statistics: &Statistics) {
    out.extend_from_slice(b"\"stats\":");
    serde_json::to_writer(out, &statistics_block(statistics)).expect("a tree of numbers is written to memory");
}

/// The block as a tree.
pub(crate) fn statistics_block(statistics: &Statistics) -> Value {
    let seconds = statistics.execution_seconds;
    let per_second = |amount: u64| if seconds > 0.0 { (amount as f64 / seconds) as u64 } else { 0 };
    json!({
        "summary": {
            "bytesProcessedPerSecond": per_second(statistics.bytes_processed),
            "linesProcessedPerSecond": per_second(statistics.lines_processed),
            "totalBytesProcessed": statistics.bytes_processed,
            "totalLinesProcessed": statistics.lines_processed,
            "execTime": seconds,
            "queueTime": 0.0,
            "subqueries": 0,
            "totalEntriesReturned": statistics.entries_returned,
            "splits": 0,
            "shards": 0,
            "totalPostFilterLines": statistics.lines_after_filter,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": {"store": store(statistics), "querierExecTime": (seconds * NANOSECONDS) as u64},
        "ingester": {
            "totalReached": 0,
            "totalChunksMatched": 0,
            "totalBatches": 0,
            "totalLinesSent": 0,
            "recvWaitTime": 0,
            "store": store(&Statistics::default()),
        },
        "cache": {
            "chunk": cache(),
            "index": cache(),
            "result": cache(),
            "statsResult": cache(),
            "volumeResult": cache(),
            "seriesResult": cache(),
            "labelResult": cache(),
            "instantMetricResult": cache(),
        },
        "index": {
            "totalChunks": 0,
            "postFilterChunks": 0,
            "shardsDuration": 0,
            "usedBloomFilters": false,
            "totalStreams": 0,
            "chunkRefsLookupTime": 0,
            "bloomFilterTime": 0,
        },
    })
}

fn store(statistics: &Statistics) -> Value {
    json!({
        "totalChunksRef": statistics.segments,
        "totalChunksDownloaded": statistics.segments,
        "chunksDownloadTime": 0,
        "queryReferencedStructuredMetadata": false,
        "queryUsedV2Engine": false,
        "chunk": {
            "headChunkBytes": 0,
            "headChunkLines": 0,
            "decompressedBytes": statistics.bytes_processed,
            "decompressedLines": statistics.lines_processed,
            "compressedBytes": 0,
            "totalDuplicates": 0,
            "postFilterLines": statistics.lines_after_filter,
            "headChunkStructuredMetadataBytes": 0,
            "decompressedStructuredMetadataBytes": 0,
        },
        "chunkRefsFetchTime": 0,
        "congestionControlLatency": 0,
        "pipelineWrapperFilteredLines": 0,
        "dataobj": {
            "prePredicateDecompressedRows": 0,
            "prePredicateDecompressedBytes": 0,
            "prePredicateDecompressedStructuredMetadataBytes": 0,
            "postPredicateRows": 0,
            "postPredicateDecompressedBytes": 0,
            "postPredicateStructuredMetadataBytes": 0,
            "postFilterRows": 0,
            "pagesScanned": 0,
            "pagesDownloaded": 0,
            "pagesDownloadedBytes": 0,
            "pageBatches": 0,
            "totalRowsAvailable": 0,
            "totalPageDownloadTime": 0,
        },
    })
}

fn cache() -> Value {
    json!({
        "entriesFound": 0,
        "entriesRequested": 0,
        "entriesStored": 0,
        "bytesReceived": 0,
        "bytesSent": 0,
        "requests": 0,
        "downloadTime": 0,
        "queryLengthServed": 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_cost_stands_where_clients_look() {
        let statistics = Statistics {
            bytes_processed: 100,
            lines_processed: 10,
            lines_after_filter: 3,
            entries_returned: 2,
            segments: 4,
            execution_seconds: 0.5,
        };
        let block = statistics_block(&statistics);
        assert_eq!(block["summary"]["bytesProcessedPerSecond"], 200);
        assert_eq!(block["summary"]["totalEntriesReturned"], 2);
        assert_eq!(block["querier"]["store"]["chunk"]["postFilterLines"], 3);
        assert_eq!(block["querier"]["querierExecTime"], 500_000_000);
        assert_eq!(block["ingester"]["store"]["totalChunksRef"], 0);
    }
}

//! What of the memory each part may take: `memory_limit`, divided once at the start.
//!
//! A quarter is for text of lines that are pending, a quarter for batches being filled and on their way; the rest is for reading buffers, what is known of
//! each file, and the program itself. Batches become smaller where they would not fit; nothing is lost by that, since the files are the buffer.

use crate::readers::IN_FLIGHT;

/// Batches are not made smaller than this, in bytes.
const MIN_BATCH_BYTES: usize = 64 << 10;

/// Bytes that parts may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Of one batch.
    pub(crate) batch: usize,
    /// Of text held for pending lines, all containers together.
    pub(crate) pending: usize,
}

impl Budget {
    /// For `readers` threads, with batches of `batchsize` if there is room.
    pub(crate) fn of(memory_limit: usize, readers: usize, batchsize: usize) -> Self {
        let quarter = memory_limit / 4;
        Self { batch: (quarter / (readers + IN_FLIGHT)).clamp(MIN_BATCH_BYTES.min(batchsize), batchsize), pending: quarter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_what_there_is() {
        const MIB: usize = 1 << 20;
        for (limit, readers, batchsize, expected) in [
            (32 * MIB, 2, MIB, Budget { batch: MIB, pending: 8 * MIB }),
            (16 * MIB, 4, MIB, Budget { batch: 512 << 10, pending: 4 * MIB }),
            (1024 * MIB, 4, MIB, Budget { batch: MIB, pending: 256 * MIB }),
            (MIB, 4, MIB, Budget { batch: 64 << 10, pending: 256 << 10 }),
            (MIB, 4, 2048, Budget { batch: 2048, pending: 256 << 10 }),
        ] {
            assert_eq!(Budget::of(limit, readers, batchsize), expected, "{limit} {readers} {batchsize}");
        }
    }
}

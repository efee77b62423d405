//! A delete request as an object in `tomb/`: what a manifest is rebuilt from. While there is a manifest, it alone counts.
//!
//! JSON, with a CRC-32C over what it says, so that damage never deletes other lines than were asked for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::manifest::state::{Tombstone, TombstoneId};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRequest {
    format: u32,
    request_id: String,
    query: String,
    /// Nanoseconds since the epoch; both ends count.
    start: i64,
    end: i64,
    created: i64,
    crc32c: u32,
}

/// The bytes are no delete request.
#[derive(Debug, thiserror::Error)]
pub enum RequestDamaged {
    #[error("it is not the JSON of a delete request: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is of format {found}, this program reads {FORMAT}")]
    Format { found: u32 },
    #[error("`{found}` is no id of a request")]
    Id { found: String },
    #[error("its checksum is {found:08x}, expected is {expected:08x}")]
    Checksum { found: u32, expected: u32 },
}

impl StoredRequest {
    fn checksum(&self) -> u32 {
        let Self { format, request_id, query, start, end, created, crc32c: _ } = self;
        crc32c::crc32c(format!("{format}\n{request_id}\n{start}\n{end}\n{created}\n{query}").as_bytes())
    }
}

/// The object of a request.
pub fn encode_request(tombstone: &Tombstone) -> Bytes {
    let Tombstone { id, query, start, end, created, .. } = tombstone;
    let mut stored = StoredRequest {
        format: FORMAT,
        request_id: id.to_string(),
        query: query.clone(),
        start: *start,
        end: *end,
        created: *created,
        crc32c: 0,
    };
    stored.crc32c = stored.checksum();
    serde_json::to_vec(&stored).expect("texts and numbers are JSON").into()
}

/// The request of an object, as if it had just been asked for.
pub fn decode_request(bytes: &[u8]) -> Result<Tombstone, RequestDamaged> {
    let stored: StoredRequest = serde_json::from_slice(bytes)?;
    if stored.format != FORMAT {
        return Err(RequestDamaged::Format { found: stored.format });
    }
    let expected = stored.checksum();
    if stored.crc32c != expected {
        return Err(RequestDamaged::Checksum { found: stored.crc32c, expected });
    }
    let id = Ulid::from_string(&stored.request_id).map_err(|_| RequestDamaged::Id { found: stored.request_id.clone() })?;
    Ok(Tombstone::requested(TombstoneId(id), &stored.query, stored.start, stored.end, stored.created))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_damage_is_found(
            id in any::<u128>(), query in ".{0,40}", start in any::<i64>(), end in any::<i64>(), created in any::<i64>(), flipped in any::<usize>(),
        ) {
            let request = Tombstone::requested(TombstoneId(Ulid(id)), &query, start, end, created);
            let bytes = encode_request(&request);
            prop_assert_eq!(decode_request(&bytes).expect("intact"), request.clone());
            let mut damaged = bytes.to_vec();
            let at = flipped % (damaged.len() * 8);
            damaged[at / 8] ^= 1 << (at % 8);
            // An escape may be spelt in two ways.
            prop_assert!(decode_request(&damaged).map_or(true, |read| read == request));
            prop_assert!(decode_request(&bytes[..at / 8]).is_err());
        }
    }
}

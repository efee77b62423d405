//! What is looked for: for each class a fresh needle a request, so that no answer can come from an earlier one.
//!
//! A few needles were planted by the generator; the others of their class are drawn from the data. Where only one was planted and nothing
//! like it occurs (a word, a phrase), the needles are that one cut shorter by a letter or two at its ends: other strings on the same lines.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tailwater_e2e::random::Random;

/// Requests of a question: one that does not count, to warm up, and five measured ones.
pub(crate) const ROUNDS: usize = 6;
/// Addresses met are counted up to this many different ones; the generator has about 20,000.
const MOST_ADDRESSES: usize = 200_000;
/// Without a gram of four bytes in them no index can help; rare enough in the data to be counted quickly.
const TOO_SHORT_FOR_THE_INDEX: [&str; ROUNDS] = ["qzv", "xjq", "vqz", "zxk", "jqv", "wqj"];
/// What stands around the planted piece of a word.
const AROUND_THE_PIECE: (&str, &str) = ("pre", "post");

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Uuid,
    TraceId,
    Address,
    RareWord,
    PieceOfWord,
    Phrase,
    PerMille,
    AbsentUuid,
    /// Uuids again, for the question that wants to see the line.
    ShownUuid,
    Unindexed,
}

/// A text and how many lines hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needle {
    pub text: String,
    pub lines: u64,
}

pub(crate) type Needles = BTreeMap<Class, Vec<Needle>>;

/// Collects candidates while the data goes by.
#[derive(Debug)]
pub(crate) struct Candidates {
    random: Random,
    uuids: Reservoir,
    trace_ids: Reservoir,
    addresses: HashMap<[u8; 4], u64>,
}

impl Candidates {
    pub(crate) fn new() -> Self {
        let uuids = Reservoir::with_room_for(2 * ROUNDS);
        Self { random: Random::new(1), uuids, trace_ids: Reservoir::with_room_for(ROUNDS), addresses: HashMap::new() }
    }

    pub(crate) fn look_at(&mut self, line: &[u8]) {
        for token in line.split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))) {
            match token.len() {
                36 if is_uuid(token) => self.uuids.offer(token, &mut self.random),
                32 if token.iter().all(u8::is_ascii_hexdigit) => self.trace_ids.offer(token, &mut self.random),
                7..=15 => self.count_address(token),
                _ => {}
            }
        }
    }

    fn count_address(&mut self, token: &[u8]) {
        let Some(address) = std::str::from_utf8(token).ok().and_then(|text| text.parse::<std::net::Ipv4Addr>().ok()) else { return };
        let is_full = self.addresses.len() >= MOST_ADDRESSES;
        match self.addresses.get_mut(&address.octets()) {
            Some(count) => *count += 1,
            None if !is_full => drop(self.addresses.insert(address.octets(), 1)),
            None => {}
        }
    }

    /// The needles of every class, not yet counted. `manifest` is the generator's.
    pub(crate) fn choose(mut self, manifest: &str) -> Result<BTreeMap<Class, Vec<String>>> {
        let planted = planted(manifest)?;
        let of = |class: &str| planted.get(class).map(Vec::as_slice).unwrap_or_default();
        let one = |class: &str| of(class).first().cloned().with_context(|| format!("no needle of the class `{class}` was planted"));
        let shown = self.uuids.take(ROUNDS, of("uuid"))?;
        let mut known = of("uuid").to_vec();
        known.extend(shown.iter().cloned());
        let word = one("inside_token")?;
        let piece = word.strip_prefix(AROUND_THE_PIECE.0).and_then(|rest| rest.strip_suffix(AROUND_THE_PIECE.1));
        let piece = piece.with_context(|| format!("`{word}` does not look like a word around a piece"))?;
        Ok(BTreeMap::from([
            (Class::ShownUuid, shown),
            (Class::Uuid, filled(of("uuid"), self.uuids.take(ROUNDS, &known)?)),
            (Class::TraceId, filled(of("trace_id"), self.trace_ids.take(ROUNDS, of("trace_id"))?)),
            (Class::Address, filled(of("ip"), self.rarest_addresses(of("ip")))),
            (Class::RareWord, cuts(&one("rare_word")?)),
            (Class::PieceOfWord, cuts(piece)),
            (Class::Phrase, cuts(&one("phrase")?)),
            (Class::PerMille, cuts(&one("per_mille")?)),
            (Class::AbsentUuid, (0..ROUNDS).map(|_| random_uuid(&mut self.random)).collect()),
            (Class::Unindexed, TOO_SHORT_FOR_THE_INDEX.map(str::to_owned).to_vec()),
        ]))
    }

    fn rarest_addresses(&self, planted: &[String]) -> Vec<String> {
        let mut all: Vec<(u64, [u8; 4])> = self.addresses.iter().map(|(address, count)| (*count, *address)).collect();
        all.sort_unstable();
        let texts = all.into_iter().map(|(_, [a, b, c, d])| format!("{a}.{b}.{c}.{d}"));
        texts.filter(|text| !planted.contains(text)).take(ROUNDS).collect()
    }
}

/// An even sample of everything offered, in a bounded room.
#[derive(Debug)]
struct Reservoir {
    room: usize,
    offered: u64,
    kept: Vec<String>,
}

impl Reservoir {
    fn with_room_for(wanted: usize) -> Self {
        // More than wanted, since a value may be offered several times.
        Self { room: wanted * 8, offered: 0, kept: Vec::new() }
    }

    fn offer(&mut self, token: &[u8], random: &mut Random) {
        self.offered += 1;
        if self.kept.len() < self.room {
            self.kept.push(String::from_utf8_lossy(token).into_owned());
            return;
        }
        let place = random.below(self.offered) as usize;
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = String::from_utf8_lossy(token).into_owned();
        }
    }

    /// Different values, none of `known`.
    fn take(&self, wanted: usize, known: &[String]) -> Result<Vec<String>> {
        let mut seen: HashSet<&String> = known.iter().collect();
        let taken: Vec<String> = self.kept.iter().filter(|text| seen.insert(text)).take(wanted).cloned().collect();
        ensure!(taken.len() == wanted, "the data is too small to draw {wanted} needles from");
        Ok(taken)
    }
}

/// Text of the needles by class.
fn planted(manifest: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut planted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in manifest.lines() {
        let row: Value = serde_json::from_str(line).context("the generator's manifest is no JSON")?;
        if let (Some(needle), Some(class)) = (row["needle"].as_str(), row["class"].as_str()) {
            planted.entry(class.to_owned()).or_default().push(needle.to_owned());
        }
    }
    Ok(planted)
}

/// Drawn ones first, the planted ones at the end, where they are measured.
fn filled(planted: &[String], drawn: Vec<String>) -> Vec<String> {
    let missing = ROUNDS.saturating_sub(planted.len());
    drawn.into_iter().take(missing).chain(planted.iter().take(ROUNDS).cloned()).collect()
}

/// The text without letters at its ends, in as many ways as there are rounds.
fn cuts(text: &str) -> Vec<String> {
    let ways: [(usize, usize); ROUNDS] = [(1, 1), (0, 0), (1, 0), (0, 1), (2, 0), (0, 2)];
    ways.iter().map(|(front, back)| text[*front..text.len() - back].to_owned()).collect()
}

fn is_uuid(token: &[u8]) -> bool {
    token.iter().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
}

fn random_uuid(random: &mut Random) -> String {
    let (high, low) = (random.draw(), random.draw());
    let (a, b, c, d, e) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff, (low >> 48) & 0xfff, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-a{d:03x}-{e:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"needle":"0b0b0b0b-1111-4222-8333-444455556666","class":"uuid","count":1}
{"needle":"198.18.1.100","class":"ip","count":5}
{"needle":"xylophonequark","class":"rare_word","count":7}
{"needle":"preQUOKKAWOMBATpost","class":"inside_token","count":20}
{"needle":"flux capacitor overload","class":"phrase","count":2}
{"needle":"ERRCODE_ZX81_OVERFLOW","class":"per_mille","count":9}
{"total_lines":10,"line_bytes":100}"#;

    fn candidates() -> Candidates {
        let mut candidates = Candidates::new();
        let mut random = Random::new(9);
        for number in 0..500_u64 {
            let (uuid, trace) = (random_uuid(&mut random), format!("{:016x}{:016x}", random.draw(), random.draw()));
            let line = format!("10.1.{}.7 - {{\"id\":\"{uuid}\",\"trace\":\"{trace}\"}} v1.2.3", number % 40);
            candidates.look_at(line.as_bytes());
        }
        candidates.look_at(b"10.9.9.9:80 once");
        candidates
    }

    #[test]
    fn every_class_has_a_fresh_needle_for_every_round() {
        let chosen = candidates().choose(MANIFEST).unwrap();
        assert_eq!(chosen.len(), 10);
        let mut all = HashSet::new();
        for (class, needles) in &chosen {
            assert_eq!(needles.len(), ROUNDS, "{class:?}");
            assert!(needles.iter().all(|needle| all.insert(needle)), "{class:?}: {needles:?}");
        }
        assert_eq!(chosen[&Class::Uuid][ROUNDS - 1], "0b0b0b0b-1111-4222-8333-444455556666");
        assert_eq!(chosen[&Class::Address][0], "10.9.9.9");
        assert_eq!(chosen[&Class::PieceOfWord][1], "QUOKKAWOMBAT");
    }

    #[test]
    fn too_little_data_is_told() {
        assert!(Candidates::new().choose(MANIFEST).unwrap_err().to_string().contains("too small"));
    }
}

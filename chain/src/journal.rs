//! The embedded chain's file: one record a block, each with a checksum.
//!
//! A torn last record, what a crash leaves, is cut off; damage before it is an error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use alloy_consensus::Header;
use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::commitment::keccak256;

/// Gas that a block, and so its transaction, may use: the fork's bound of one transaction.
pub const GAS: u64 = 1 << 24;
/// Bytes of a record's length and checksum.
const FRAME: usize = 4 + 8;

/// An account as a block leaves it.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct Change {
    pub address: [u8; 20],
    pub balance: [u8; 32],
    pub nonce: u64,
    /// Only of an account that the block made.
    pub code: Option<Vec<u8>>,
    pub storage: Vec<([u8; 32], [u8; 32])>,
}

/// An event.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct Event {
    pub address: [u8; 20],
    pub topics: Vec<[u8; 32]>,
    pub data: Vec<u8>,
}

/// The one transaction of a block.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    pub from: [u8; 20],
    pub to: Option<[u8; 20]>,
    pub input: Vec<u8>,
    pub gas: u64,
    pub created: Option<[u8; 20]>,
    pub events: Vec<Event>,
}

/// A block: at most one transaction, and what it changed.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct Record {
    pub number: u64,
    pub time: u64,
    pub parent: [u8; 32],
    pub transaction: Option<Transaction>,
    pub changes: Vec<Change>,
}

impl Record {
    /// What stands before the first block.
    pub const fn genesis() -> Self {
        Self {
            number: 0,
            time: 0,
            parent: [0; 32],
            transaction: None,
            changes: Vec::new(),
        }
    }

    /// The block's header, as Ethereum has it. Its extra data is the hash of everything in the block.
    pub fn header(&self) -> Header {
        Header {
            parent_hash: self.parent.into(),
            number: self.number,
            timestamp: self.time,
            gas_limit: GAS,
            gas_used: self.transaction.as_ref().map_or(0, |sent| sent.gas),
            base_fee_per_gas: Some(0),
            extra_data: keccak256(&encoded(self)).0.to_vec().into(),
            ..Header::default()
        }
    }

    /// The block's hash: its header's, as any client computes it.
    pub fn hash(&self) -> [u8; 32] {
        self.header().hash_slow().0
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    borsh::to_vec(record).unwrap_or_default()
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&keccak256(bytes).0[..8]);
    sum
}

/// An open file, at its end.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens or makes the file and reads every record.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // Two processes that append would each forget the other's blocks.
        file.try_lock()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, good) = read(&bytes)?;
        file.set_len(good as u64)?;
        file.seek(io::SeekFrom::Start(good as u64))?;
        Ok((Self(file), records))
    }

    /// Appends a block; it is on disk when this returns.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        self.0.write_all(&framed(record)?)?;
        self.0.sync_data()
    }

    /// Puts other blocks in the place of all.
    pub fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        for record in records {
            self.0.write_all(&framed(record)?)?;
        }
        self.0.sync_data()
    }
}

fn framed(record: &Record) -> io::Result<Vec<u8>> {
    let body = encoded(record);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &checksum(&body), &body].concat())
}

/// The records, and how many bytes of whole ones there are.
fn read(bytes: &[u8]) -> io::Result<(Vec<Record>, usize)> {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((frame, rest)) = bytes[at..].split_first_chunk::<FRAME>() {
        let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let Some(body) = rest.get(..length) else {
            break;
        };
        let last = rest.len() == length;
        if checksum(body) != frame[4..] {
            if last {
                break;
            }
            let what = format!("the record at byte {at} is damaged");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let record = borsh::from_slice(body);
        records.push(record.map_err(|error| io::Error::other(error.to_string()))?);
        at += FRAME + length;
    }
    Ok((records, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> Record {
        Record {
            number,
            time: number * 10,
            parent: [number as u8; 32],
            transaction: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_damage_before_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain");
        let (mut journal, none) = Journal::open(&path).unwrap();
        assert!(none.is_empty());
        (1..=3).for_each(|number| journal.append(&record(number)).unwrap());
        assert!(Journal::open(&path).is_err(), "one process at a time");
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() / 3 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (_, records) = Journal::open(&path).unwrap();
            assert_eq!(records.len(), 2, "cut by {cut}");
        }
        let mut damaged = whole;
        damaged[FRAME] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(Journal::open(&path).is_err());
    }
}

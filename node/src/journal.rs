//! The block log: every executed block in height order, readable without the node.
//!
//! **Owns** segment files `blocks-<first height>.log` of checksummed records. Consensus keeps its own
//! durable copy, so a torn tail here loses nothing: it is cut off and written again. A record that
//! fails its checksum is never read past.
//!
//! Record: `u32` length of what follows the checksum, `u32` CRC-32C of it, then the header, `u32`
//! length of the certificate and the certificate (empty if the block became final through a later
//! one), and the commands. Integers are little-endian; the header has its own layout.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use commonware_cryptography::crc32::Crc32;
use lifeboat_engine::types::Height;

use crate::block::{Block, HEADER_BYTES, Header};
use crate::files::Files;

const SEGMENT_BYTES: u64 = 64 << 20;
const RECORD_BYTES_MAX: u32 = 8 << 20;
const PREFIX: &str = "blocks-";
const SUFFIX: &str = ".log";

/// What the log holds for one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The block.
    pub block: Block,
    /// Its own finalization certificate, encoded; empty if it is final through a descendant.
    pub certificate: Bytes,
}

impl Record {
    /// Bytes of the block and its certificate.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.block.body().bytes().len() + self.certificate.len()
    }
}

/// Why the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("cannot read the block log: {0}")]
    Io(#[from] io::Error),
    /// The last record was not written whole.
    #[error("{file} ends in the middle of a record at byte {offset}")]
    Torn {
        /// Which file.
        file: String,
        /// Where the record starts.
        offset: u64,
    },
    /// A record does not match its checksum or does not decode.
    #[error("{file} is damaged at byte {offset}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where the record starts.
        offset: u64,
    },
    /// A height is missing or repeated.
    #[error("{file} jumps from block {from} to block {to} at byte {offset}")]
    Gap {
        /// Which file.
        file: String,
        /// Where the record starts.
        offset: u64,
        /// The height before.
        from: Height,
        /// The height read.
        to: Height,
    },
}

fn segment_name(first: Height) -> String {
    format!("{PREFIX}{:020}{SUFFIX}", first.get())
}

fn segments(files: &dyn Files) -> io::Result<Vec<(u64, String)>> {
    let mut found: Vec<(u64, String)> = files
        .list()?
        .into_iter()
        .filter_map(|name| {
            let first = name
                .strip_prefix(PREFIX)?
                .strip_suffix(SUFFIX)?
                .parse()
                .ok()?;
            Some((first, name))
        })
        .collect();
    found.sort();
    Ok(found)
}

fn encode(block: &Block, certificate: &[u8]) -> Vec<u8> {
    let body = block.body().bytes();
    let len = HEADER_BYTES + 4 + certificate.len() + body.len();
    let mut out = Vec::with_capacity(8 + len);
    out.put_u32_le(len as u32);
    out.put_u32_le(0);
    out.put_slice(&block.header().encode());
    out.put_u32_le(certificate.len() as u32);
    out.put_slice(certificate);
    out.put_slice(body);
    let checksum = checksum(&out[8..]);
    out[4..8].copy_from_slice(&checksum);
    out
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    Crc32::checksum(bytes).to_le_bytes()
}

fn decode(bytes: Vec<u8>) -> Option<Record> {
    let mut bytes = Bytes::from(bytes);
    let header = Header::decode(&mut bytes.split_to_checked(HEADER_BYTES)?).ok()?;
    if bytes.remaining() < 4 {
        return None;
    }
    let certificate_len = bytes.get_u32_le() as usize;
    let certificate = bytes.split_to_checked(certificate_len)?;
    let block = Block::from_parts(header, bytes).ok()?;
    Some(Record { block, certificate })
}

trait SplitChecked: Sized {
    fn split_to_checked(&mut self, len: usize) -> Option<Self>;
}

impl SplitChecked for Bytes {
    fn split_to_checked(&mut self, len: usize) -> Option<Self> {
        (len <= self.len()).then(|| self.split_to(len))
    }
}

/// Reads a log from its beginning or from a segment on.
pub struct Reader {
    files: Arc<dyn Files>,
    segments: Vec<(u64, String)>,
    segment: usize,
    offset: u64,
    last: Option<Height>,
    bytes_total: u64,
    bytes_read: u64,
}

impl Reader {
    /// Opens the log at the segment that holds `from`, or the first one after it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(files: Arc<dyn Files>, from: Height) -> io::Result<Self> {
        let mut segments = segments(&*files)?;
        let at = segments.partition_point(|(first, _)| *first <= from.get());
        segments.drain(..at.saturating_sub(1));
        let mut bytes_total = 0;
        for (_, name) in &segments {
            bytes_total += files.len(name)?.unwrap_or(0);
        }
        Ok(Self {
            files,
            segments,
            segment: 0,
            offset: 0,
            last: None,
            bytes_total,
            bytes_read: 0,
        })
    }

    /// Bytes read and bytes in all, for progress.
    pub fn progress(&self) -> (u64, u64) {
        (self.bytes_read, self.bytes_total)
    }

    fn read(&mut self) -> Result<Option<Record>, JournalError> {
        loop {
            let Some((_, file)) = self.segments.get(self.segment).cloned() else {
                return Ok(None);
            };
            let offset = self.offset;
            let head = self.files.read_at(&file, offset, 8)?;
            if head.is_empty() {
                self.segment += 1;
                self.offset = 0;
                continue;
            }
            let torn = || JournalError::Torn {
                file: file.clone(),
                offset,
            };
            let damaged = || JournalError::Damaged {
                file: file.clone(),
                offset,
            };
            let mut fields = head.as_slice();
            if fields.len() < 8 {
                return Err(torn());
            }
            let len = fields.get_u32_le();
            if len > RECORD_BYTES_MAX {
                return Err(damaged());
            }
            let bytes = self.files.read_at(&file, offset + 8, len as usize)?;
            if bytes.len() < len as usize {
                return Err(torn());
            }
            if checksum(&bytes) != head[4..8] {
                return Err(damaged());
            }
            let record = decode(bytes).ok_or_else(damaged)?;
            self.follow(&file, record.block.header().height)?;
            self.offset += 8 + u64::from(len);
            self.bytes_read += 8 + u64::from(len);
            return Ok(Some(record));
        }
    }

    fn follow(&mut self, file: &str, to: Height) -> Result<(), JournalError> {
        if let Some(from) = self.last
            && from.next() != to
        {
            let (file, offset) = (file.to_owned(), self.offset);
            return Err(JournalError::Gap {
                file,
                offset,
                from,
                to,
            });
        }
        self.last = Some(to);
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if matches!(item, Some(Err(_))) {
            self.segments.clear();
        }
        item
    }
}

/// Appends to the log.
pub struct Writer {
    files: Arc<dyn Files>,
    segment: Option<(String, u64)>,
    last: Option<Height>,
}

impl Writer {
    /// Opens the log for appending. What follows the last whole record of the last segment is cut
    /// off; consensus's own store has it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(files: Arc<dyn Files>) -> io::Result<Self> {
        while let Some((first, name)) = segments(&*files)?.pop() {
            let mut reader = Reader::open(files.clone(), Height::new(first))?;
            let mut end = None;
            while let Some(Ok(record)) = reader.next() {
                end = Some((reader.offset, record.block.header().height));
            }
            let Some((offset, height)) = end else {
                tracing::warn!(
                    file = name,
                    "removed a block log segment without a whole record"
                );
                files.remove(&name)?;
                continue;
            };
            if files.len(&name)?.unwrap_or(0) > offset {
                tracing::warn!(
                    file = name,
                    offset,
                    "cut the block log back to its last whole record"
                );
                files.truncate(&name, offset)?;
            }
            return Ok(Self {
                files,
                segment: Some((name, offset)),
                last: Some(height),
            });
        }
        Ok(Self {
            files,
            segment: None,
            last: None,
        })
    }

    /// Renames all segments, so that the log begins with the next block appended.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn set_aside(&mut self) -> io::Result<()> {
        for (_, name) in segments(&*self.files)? {
            self.files.rename(&name, &format!("{name}.before-sync"))?;
        }
        (self.segment, self.last) = (None, None);
        Ok(())
    }

    /// The last block in the log.
    pub fn last(&self) -> Option<Height> {
        self.last
    }

    /// Appends the next block; one already in the log is left alone.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn append(&mut self, block: &Block, certificate: &[u8]) -> io::Result<()> {
        let height = block.header().height;
        if self.last.is_some_and(|last| height <= last) {
            return Ok(());
        }
        let record = encode(block, certificate);
        let full = self
            .segment
            .as_ref()
            .is_none_or(|(_, len)| *len >= SEGMENT_BYTES);
        if full {
            self.sync()?;
            self.segment = Some((segment_name(height), 0));
        }
        if let Some((name, len)) = &mut self.segment {
            self.files.append(name, &record)?;
            *len += record.len() as u64;
            self.last = Some(height);
        }
        Ok(())
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        match &self.segment {
            Some((name, len)) if *len > 0 => self.files.sync(name),
            _ => Ok(()),
        }
    }
}

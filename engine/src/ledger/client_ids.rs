//! Which client order ids an account has used: the live ones and the last that ended.
//!
//! Live orders carry their client ids in their own leaves, so that the account commits only to those
//! that ended: a ring, hashed in chunks, of which an order's end changes one. What leads from an id
//! to its order is derived from both.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::limits::CLIENT_IDS_REMEMBERED;
use crate::types::{ClientOrderId, Digest, OrderId};

/// Ended ids that are hashed together.
const IDS_PER_CHUNK: usize = 16;
const CHUNKS_MAX: usize = CLIENT_IDS_REMEMBERED.div_ceil(IDS_PER_CHUNK);
const _: () = assert!(CHUNKS_MAX <= u32::BITS as usize);

/// An ended order and the id it had used.
type Ended = (ClientOrderId, OrderId);

/// Client ids of an account's live orders and of the last `CLIENT_IDS_REMEMBERED` that ended.
#[derive(Clone, Debug, Default)]
pub struct ClientIds {
    known: BTreeMap<ClientOrderId, OrderId>,
    /// The last that ended; the `n`-th ever is at `n mod CLIENT_IDS_REMEMBERED`.
    ring: Vec<Ended>,
    /// How many ever ended.
    ended: u64,
    /// Digests of the ring's chunks, as of the last root.
    digests: Vec<Digest>,
    /// Bit `i`: chunk `i` changed since.
    changed: u32,
}

impl ClientIds {
    /// The order that used this id, if it is remembered.
    pub fn get(&self, client: ClientOrderId) -> Option<OrderId> {
        self.known.get(&client).copied()
    }

    /// Remembers a live order's id.
    pub fn insert(&mut self, client: ClientOrderId, order: OrderId) {
        self.known.insert(client, order);
    }

    /// The order ended: from now on it can be forgotten when newer ones have ended.
    pub fn end(&mut self, client: ClientOrderId) {
        let Some(order) = self.get(client) else {
            return;
        };
        let place = self.ended.checked_rem(CLIENT_IDS_REMEMBERED as u64);
        let place = place.unwrap_or(0) as usize;
        self.ended = self.ended.wrapping_add(1);
        self.mark(place);
        match self.ring.get_mut(place) {
            Some(oldest) => {
                let (forgotten, _) = core::mem::replace(oldest, (client, order));
                self.known.remove(&forgotten);
            }
            None => self.ring.push((client, order)),
        }
    }

    /// How many ever ended.
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    const fn mark(&mut self, place: usize) {
        self.changed |= 1_u32.wrapping_shl((place / IDS_PER_CHUNK) as u32);
    }

    /// How many chunks the ring has.
    pub(crate) fn chunks(&self) -> usize {
        self.ring.len().div_ceil(IDS_PER_CHUNK)
    }

    /// The chunks' digests, current after a root.
    pub(crate) fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Numbers of the chunks that have to be hashed, which count as hashed from now on.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = usize> + use<> {
        let (chunks, changed) = (self.chunks(), core::mem::take(&mut self.changed));
        self.digests.resize(chunks, Digest::default());
        (0..chunks).filter(move |chunk| changed.wrapping_shr(*chunk as u32) & 1 != 0)
    }

    /// Appends a chunk's bytes.
    pub(crate) fn write_chunk(&self, chunk: usize, out: &mut Vec<u8>) {
        for ended in self.ring.chunks(IDS_PER_CHUNK).nth(chunk).unwrap_or(&[]) {
            let _ = ended.serialize(out);
        }
    }

    /// Keeps a chunk's digest.
    pub(crate) fn set_digest(&mut self, chunk: usize, digest: Digest) {
        if let Some(entry) = self.digests.get_mut(chunk) {
            *entry = digest;
        }
    }
}

/// Those that ended. Live ones are the orders'.
impl BorshSerialize for ClientIds {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.ended.serialize(writer)?;
        self.ring.serialize(writer)
    }
}

impl BorshDeserialize for ClientIds {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let ended = u64::deserialize_reader(reader)?;
        let ring = Vec::<Ended>::deserialize_reader(reader)?;
        if ring.len() as u64 != ended.min(CLIENT_IDS_REMEMBERED as u64) {
            let kind = borsh::io::ErrorKind::InvalidData;
            return Err(borsh::io::Error::new(kind, "unsound client order ids"));
        }
        Ok(Self {
            known: ring.iter().copied().collect(),
            ring,
            ended,
            digests: Vec::new(),
            changed: u32::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    fn id(at: u64) -> ClientOrderId {
        ClientOrderId::new(at)
    }

    #[test]
    fn the_last_that_ended_are_remembered_and_restored() {
        let most = CLIENT_IDS_REMEMBERED as u64;
        let mut ids = ClientIds::default();
        for at in 1..=most + 40 {
            ids.insert(id(at), OrderId::new(at * 10));
            ids.end(id(at));
        }
        ids.insert(id(9_999), OrderId::new(1));
        assert_eq!(ids.get(id(40)), None);
        assert_eq!(ids.get(id(41)), Some(OrderId::new(410)));
        let restored: ClientIds = borsh::from_slice(&borsh::to_vec(&ids).unwrap()).unwrap();
        assert_eq!(restored.get(id(41)), Some(OrderId::new(410)));
        assert_eq!(
            restored.get(id(9_999)),
            None,
            "live ones come with their orders"
        );
        assert_eq!(restored.ended(), most + 40);
    }

    #[test]
    fn an_end_changes_one_chunk() {
        let mut ids = ClientIds::default();
        for at in 1..=40 {
            ids.insert(id(at), OrderId::new(at));
        }
        (1..=20).for_each(|at| ids.end(id(at)));
        assert!(ids.take_changed().eq([0, 1]));
        ids.end(id(21));
        assert!(ids.take_changed().eq([1]));
        ids.end(id(77));
        assert_eq!(ids.take_changed().count(), 0, "nobody used that id");
    }
}

//! What is known of a resting order besides its place in the book.
//!
//! **Owns** the table of order details, parallel to the book's slots, the lists of each account's
//! orders, labels, and the queue of good-til-date orders. **Never** matches.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::book::prefetch::fetch;
use crate::ledger::{Account, NO_SLOT};
use crate::types::{ClientOrderId, OrderId, TimeMs};

/// Flag bits that the book carries with each order.
pub mod flags {
    /// Counted by market-maker protection.
    pub const PROTECTED: u8 = 1;
    /// Comes back after an outage.
    pub const KEEP: u8 = 2;
    /// A quote of a mass quote.
    pub const QUOTE: u8 = 4;
    /// May only bring the position nearer to zero.
    pub const REDUCE_ONLY: u8 = 8;
}

/// Details of the order in one slot. Slots that are free keep stale details; the book's leaf says
/// which are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OrderDetail {
    /// The client's id, or 0.
    pub client_id: ClientOrderId,
    /// Block time of placing.
    pub placed_at: TimeMs,
    /// Block time at which it expires; 0 for never.
    pub expires_at: TimeMs,
    /// Lots filled so far.
    pub filled: u32,
    /// Previous order of the same account, by slot. Derived: no leaf and no snapshot has it.
    #[borsh(skip)]
    pub(crate) previous: u32,
    /// Next order of the same account, by slot. Derived.
    #[borsh(skip)]
    pub(crate) next: u32,
}

impl OrderDetail {
    /// Its canonical bytes, in one piece: a root encodes every order that it touched.
    #[inline]
    pub(crate) fn encoded(&self) -> [u8; DETAIL_BYTES] {
        let mut bytes = [0; DETAIL_BYTES];
        let words = [
            self.client_id.get(),
            self.placed_at.get(),
            self.expires_at.get(),
        ];
        let (places, rest) = bytes.as_chunks_mut::<8>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        rest.copy_from_slice(&self.filled.to_le_bytes());
        bytes
    }

    /// What [`encoded`](Self::encoded) gave, in no list.
    #[inline]
    pub(crate) fn decode(bytes: &[u8; DETAIL_BYTES]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let word = |at: usize| u64::from_le_bytes(words.get(at).copied().unwrap_or_default());
        Self {
            client_id: ClientOrderId::new(word(0)),
            placed_at: TimeMs::new(word(1)),
            expires_at: TimeMs::new(word(2)),
            filled: rest
                .first_chunk()
                .map_or(0, |half| u32::from_le_bytes(*half)),
            ..Self::default()
        }
    }
}

/// Bytes of [`OrderDetail::encoded`].
pub(crate) const DETAIL_BYTES: usize = 28;

impl Default for OrderDetail {
    fn default() -> Self {
        Self {
            client_id: ClientOrderId::default(),
            placed_at: TimeMs::default(),
            expires_at: TimeMs::default(),
            filled: 0,
            previous: NO_SLOT,
            next: NO_SLOT,
        }
    }
}

/// Details of all resting orders.
#[derive(Clone, Debug, Default)]
pub struct OrderTable {
    details: Vec<OrderDetail>,
    labels: BTreeMap<u32, Vec<u8>>,
    expiring: BTreeSet<(TimeMs, OrderId)>,
}

impl OrderTable {
    /// A table with room for the orders in so many slots.
    pub(crate) fn with_slots(slots: u32) -> Self {
        let mut details = Vec::new();
        details.resize(slots as usize, OrderDetail::default());
        Self {
            details,
            ..Self::default()
        }
    }

    /// The details in a slot.
    pub fn get(&self, slot: u32) -> Option<&OrderDetail> {
        self.details.get(usize::try_from(slot).ok()?)
    }

    /// The details in a slot, for changing.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut OrderDetail> {
        self.details.get_mut(usize::try_from(slot).ok()?)
    }

    /// Asks the processor to fetch the details in a slot.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        fetch(self.get(slot));
    }

    /// With the details fetched: those of the neighbours in the account's list.
    #[inline]
    pub(crate) fn prefetch_neighbours(&self, slot: u32) {
        if let Some(detail) = self.get(slot) {
            self.prefetch(detail.previous);
            self.prefetch(detail.next);
        }
    }

    /// The label of the order in a slot; empty for none.
    pub fn label(&self, slot: u32) -> &[u8] {
        self.labels.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Puts an order's details in its slot and the order at the head of its account's list.
    #[inline]
    pub fn link(
        &mut self,
        order: OrderId,
        detail: OrderDetail,
        label: &[u8],
        account: &mut Account,
    ) {
        let slot = order.slot();
        let Ok(at) = usize::try_from(slot) else {
            return;
        };
        if self.details.len() <= at {
            self.details
                .resize(at.saturating_add(1), OrderDetail::default());
        }
        let next = core::mem::replace(&mut account.first_order, slot);
        account.open_orders = account.open_orders.saturating_add(1);
        if let Some(entry) = self.details.get_mut(at) {
            // Field by field: a whole record that was just put together would be copied in wide reads.
            entry.client_id = detail.client_id;
            entry.placed_at = detail.placed_at;
            entry.expires_at = detail.expires_at;
            entry.filled = detail.filled;
            entry.previous = NO_SLOT;
            entry.next = next;
        }
        if let Some(head) = self.get_mut(next) {
            head.previous = slot;
        }
        if !label.is_empty() {
            self.labels.insert(slot, label.to_vec());
        }
        if detail.expires_at.get() != 0 {
            self.expiring.insert((detail.expires_at, order));
        }
    }

    /// Takes an order that ended out of its account's list.
    #[inline]
    pub fn unlink(&mut self, order: OrderId, account: &mut Account) {
        self.detach(order, account);
        if let Some(ids) = &mut account.client_ids
            && let Some(detail) = self.get(order.slot())
            && detail.client_id.get() != 0
        {
            ids.end(detail.client_id);
        }
    }

    /// Takes an order out of its account's list without ending it: it may come back by
    /// [`OrderTable::link`] under the same id.
    #[inline]
    pub fn detach(&mut self, order: OrderId, account: &mut Account) {
        let slot = order.slot();
        let Some(detail) = self.get(slot) else {
            return;
        };
        let (before, after, expires) = (detail.previous, detail.next, detail.expires_at.get() != 0);
        match self.get_mut(before) {
            Some(previous) => previous.next = after,
            None => account.first_order = after,
        }
        if let Some(next) = self.get_mut(after) {
            next.previous = before;
        }
        account.open_orders = account.open_orders.saturating_sub(1);
        if !self.labels.is_empty() {
            self.labels.remove(&slot);
        }
        if expires {
            self.forget_expiry(order);
        }
    }

    /// Takes an order out of the queue of good-til-date orders.
    pub fn forget_expiry(&mut self, order: OrderId) {
        if let Some(at) = self
            .get(order.slot())
            .map(|d| d.expires_at)
            .filter(|at| at.get() != 0)
        {
            self.expiring.remove(&(at, order));
        }
    }

    /// Slots of an account's orders, in no order that may decide anything: lists are rebuilt after a
    /// restore.
    pub fn of_account<'a>(&'a self, account: &Account) -> impl Iterator<Item = u32> + 'a {
        let first = self.get(account.first_order).map(|_| account.first_order);
        core::iter::successors(first, |slot| {
            let next = self.get(*slot)?.next;
            (next != NO_SLOT).then_some(next)
        })
        .take(usize::try_from(account.open_orders).unwrap_or(0))
    }

    /// Takes the earliest good-til-date order that has expired out of the queue.
    pub fn pop_expired(&mut self, now: TimeMs) -> Option<OrderId> {
        let (_, order) = self
            .expiring
            .first()
            .filter(|(at, _)| *at <= now)
            .copied()?;
        self.expiring.pop_first();
        Some(order)
    }

    /// Slots the table has room for.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.details.len()).unwrap_or(u32::MAX)
    }
}

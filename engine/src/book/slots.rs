//! Access by slot, for callers that keep slots instead of ids.

use super::books::{Books, Resting};
use super::slab::{LEVEL_RESERVED, NONE, Slot};
use crate::types::{AccountId, OrderId};

impl Books {
    /// The order that rests in a slot.
    pub fn in_slot(&self, slot: u32) -> Option<Resting> {
        let generation = self.slab.get(slot)?.generation;
        self.get(OrderId::from_parts(generation, slot))
    }

    /// Whose order rests in a slot, and its id: [`in_slot`](Self::in_slot) without a look at its level.
    #[inline]
    pub(crate) fn holder_in(&self, slot: u32) -> Option<(OrderId, AccountId)> {
        let entry = self.slab.get(slot).filter(|entry| entry.rests())?;
        let order = OrderId::from_parts(entry.generation, slot);
        Some((order, AccountId::new(entry.owner)))
    }

    /// Takes a resting order out of its book but keeps its slot, and so its id: it is as if it had
    /// just been allocated. `false` when it does not rest.
    pub fn withdraw(&mut self, order: OrderId) -> bool {
        let Some(resting) = self.slab.resting(order).copied() else {
            return false;
        };
        self.unlink(&resting);
        if let Some(slot) = self.slab.get_mut(order.slot()) {
            *slot = Slot::blank(LEVEL_RESERVED, NONE, slot.generation);
        }
        self.slab.mark(order.slot());
        true
    }
}

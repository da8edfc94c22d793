//! Which client order ids an account has used: the live ones and the last that ended.

use alloc::collections::{BTreeMap, VecDeque};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::limits::CLIENT_IDS_REMEMBERED;
use crate::types::{ClientOrderId, OrderId};

/// Client ids of an account's live orders and of the last `CLIENT_IDS_REMEMBERED` that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClientIds {
    known: BTreeMap<ClientOrderId, OrderId>,
    ended: VecDeque<ClientOrderId>,
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
        self.ended.push_back(client);
        if self.ended.len() > CLIENT_IDS_REMEMBERED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

//! A WebSocket's session: who is logged in, its heartbeat, and what to cancel when it drops.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lifeboat_engine::command::{self, Action, OrderRef};
use lifeboat_engine::limits::ORDERS_PER_ACCOUNT_MAX;
use lifeboat_engine::types::{ClientOrderId, Nonce, OrderId};

use crate::auth::Login;
use crate::error::{OUTCOME_UNKNOWN, RpcError};
use crate::gateway::Gateway;
use crate::hub::ConnId;
use crate::outbox::Outbox;
use crate::outcome::Fate;

/// How long a cancel is retried after the connection dropped.
const CANCEL_TRIES: u32 = 100;
const CANCEL_RETRY: Duration = Duration::from_millis(100);

/// What is cancelled when the connection drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelScope {
    /// What was placed on this connection.
    Connection,
    /// All of the account's orders and quotes.
    Account,
}

#[derive(Debug, Default)]
struct Session {
    login: Option<Login>,
    heartbeat_s: Option<u64>,
    cancels: Option<CancelScope>,
    placed: VecDeque<OrderId>,
    unsettled: Vec<Nonce>,
    quoted: bool,
}

/// A WebSocket connection.
#[derive(Debug)]
pub struct Connection {
    id: ConnId,
    outbox: Outbox,
    session: Mutex<Session>,
}

impl Connection {
    /// A fresh session.
    pub fn new(id: ConnId, outbox: Outbox) -> Self {
        Self {
            id,
            outbox,
            session: Mutex::default(),
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its number.
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// Its outgoing queue.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Who is logged in.
    pub fn login(&self) -> Option<Login> {
        self.session().login.clone()
    }

    /// Somebody logged in; the login lasts as long as the connection.
    pub fn log_in(&self, login: Login) {
        self.session().login = Some(login);
    }

    /// The login ended.
    pub fn log_out(&self) {
        self.session().login = None;
    }

    /// Seconds between heartbeats, or none.
    pub fn set_heartbeat(&self, seconds: Option<u64>) {
        self.session().heartbeat_s = seconds;
    }

    /// Seconds between heartbeats, if asked for.
    pub fn heartbeat(&self) -> Option<u64> {
        self.session().heartbeat_s
    }

    /// What to cancel when the connection drops.
    pub fn cancel_on_disconnect(&self, scope: Option<CancelScope>) {
        self.session().cancels = scope;
    }

    /// What is cancelled when the connection drops.
    pub fn cancels(&self) -> Option<CancelScope> {
        self.session().cancels
    }

    /// Orders were placed on this connection.
    pub fn placed(&self, orders: impl Iterator<Item = OrderId>) {
        let mut session = self.session();
        session.placed.extend(orders);
        // No more can be open at once; older ones have ended.
        let excess = session
            .placed
            .len()
            .saturating_sub(ORDERS_PER_ACCOUNT_MAX as usize);
        session.placed.drain(..excess);
    }

    /// An order's outcome was not known when its request ended.
    pub fn unsettled(&self, error: &RpcError) {
        let data = error
            .data
            .as_ref()
            .filter(|_| error.code == OUTCOME_UNKNOWN);
        let nonce = data.and_then(|data| data["nonce"].as_str()?.parse().ok());
        if let Some(nonce) = nonce {
            self.session().unsettled.push(Nonce::new(nonce));
        }
    }

    /// Quotes were set on this connection.
    pub fn quoted(&self) {
        self.session().quoted = true;
    }
}

/// Cancels what a dropped connection asked to have cancelled. Orders whose fate was still open are
/// looked at again once it is known.
pub async fn after_disconnect(gateway: Arc<Gateway>, connection: Arc<Connection>) {
    let (scope, login) = (connection.cancels(), connection.login());
    let (Some(scope), Some(login)) = (scope, login) else {
        return;
    };
    for action in cancels(&gateway, &connection, &login, scope) {
        insist(&gateway, &login, action).await;
    }
    let unsettled = std::mem::take(&mut connection.session().unsettled);
    if unsettled.is_empty() {
        return;
    }
    for _ in 0..CANCEL_TRIES * 3 {
        if late_orders(&gateway, &connection, &login, &unsettled) {
            break;
        }
        tokio::time::sleep(CANCEL_RETRY).await;
    }
    for action in cancels(&gateway, &connection, &login, scope) {
        insist(&gateway, &login, action).await;
    }
}

/// Notes the orders of commands whose fate became known; true when all are.
fn late_orders(
    gateway: &Gateway,
    connection: &Connection,
    login: &Login,
    nonces: &[Nonce],
) -> bool {
    let state = gateway.state();
    let account = login.key.account();
    let fates = nonces.iter().filter_map(|nonce| {
        let outcomes = &state.memory.outcomes;
        Some(
            &outcomes
                .find(account, |record| record.ticket.nonce == *nonce)?
                .fate,
        )
    });
    let (mut settled, mut placed) = (true, Vec::new());
    for fate in fates {
        match fate {
            Fate::Open => settled = false,
            Fate::Applied { effects, .. } => {
                placed.extend(effects.placed.iter().map(|placed| placed.order));
            }
            _ => {}
        }
    }
    if settled {
        connection.placed(placed.into_iter());
    }
    settled
}

/// The commands that cancel what is still open.
fn cancels(
    gateway: &Gateway,
    connection: &Connection,
    login: &Login,
    scope: CancelScope,
) -> Vec<Action> {
    let whole = Action::CancelAll(command::CancelScope::Account);
    if scope == CancelScope::Account {
        return vec![whole];
    }
    let state = gateway.state();
    let session = connection.session();
    let Some(desk) = state.memory.desks.get(login.key.account()) else {
        return Vec::new();
    };
    let placed: std::collections::BTreeSet<OrderId> = session.placed.iter().copied().collect();
    let open = || desk.open().filter(|order| !order.quote);
    let own: Vec<OrderId> = open()
        .map(|order| order.order)
        .filter(|order| placed.contains(order))
        .collect();
    let others_quotes = !session.quoted && desk.open().any(|order| order.quote);
    if own.len() > 1 && own.len() == open().count() && !others_quotes {
        return vec![whole];
    }
    let quotes = session
        .quoted
        .then_some(Action::CancelAll(command::CancelScope::Quotes));
    let orders = own
        .into_iter()
        .map(|order| Action::CancelOrder(OrderRef::Id(order)));
    quotes.into_iter().chain(orders).collect()
}

/// Executes a cancel until its fate is known: cancelling twice does no harm.
async fn insist(gateway: &Arc<Gateway>, login: &Login, action: Action) {
    for _ in 0..CANCEL_TRIES {
        let none = ClientOrderId::default();
        match gateway.execute(login, action.clone(), none, None).await {
            Err(error) if matches!(error.code, 10_040 | 10_047 | OUTCOME_UNKNOWN) => {
                tokio::time::sleep(CANCEL_RETRY).await;
            }
            Err(error) => {
                tracing::debug!(code = error.code, "cancel on disconnect was refused");
                return;
            }
            Ok(_) => return,
        }
    }
    tracing::warn!(account = %login.key.account(), "cancel on disconnect was given up");
}

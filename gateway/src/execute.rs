//! Submits a signed command and waits for its fate.

use std::sync::Arc;

use lifeboat_engine::Reject;
use lifeboat_engine::command::Action;
use lifeboat_engine::types::{ClientOrderId, Height, Nonce, TimeMs};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::auth::Login;
use crate::error::{COMMAND_DEAD, OUTCOME_UNKNOWN, RpcError};
use crate::gateway::Gateway;
use crate::outcome::{Effects, Fate, Ticket};
use crate::port::SubmitError;

/// A command that was applied.
#[derive(Debug)]
pub struct Done {
    /// In which block.
    pub height: Height,
    /// What it did.
    pub effects: Effects,
}

/// How well a block is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acknowledged {
    /// A quorum of validators has it.
    Ordered,
    /// It is outside the venue, too: the loss of every validator does not lose it.
    Published,
}

impl Acknowledged {
    /// Its name in requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Published => "published",
        }
    }
}

/// A command on its way.
#[derive(Debug)]
pub struct Submitted {
    answer: oneshot::Receiver<Fate>,
    ticket: Ticket,
    client_id: ClientOrderId,
    valid_until: TimeMs,
}

impl Gateway {
    /// Signs and submits an action, and waits until its fate is known or the request's time is up.
    /// It is submitted before the first suspension, so that requests polled in order are submitted
    /// in order.
    ///
    /// # Errors
    /// The engine's reject by Deribit's code; `outcome_unknown` when the wait was too short;
    /// `retry` and the like when the command was certainly not queued.
    pub async fn execute(
        self: &Arc<Self>,
        login: &Login,
        action: Action,
        client_id: ClientOrderId,
        not_after: Option<TimeMs>,
    ) -> Result<Done, RpcError> {
        let submitted = self.submit(login, action, client_id, not_after)?;
        self.wait(submitted).await
    }

    /// The nonce of a command that has to name it.
    ///
    /// # Errors
    /// When the login may not trade.
    pub fn reserve(&self, login: &Login) -> Result<Nonce, RpcError> {
        login.require_trade()?;
        self.signers.next_nonce(&login.key).ok_or_else(unsigned)
    }

    /// [`Gateway::execute`] under a nonce of [`Gateway::reserve`].
    ///
    /// # Errors
    /// As [`Gateway::execute`].
    pub async fn execute_numbered(
        self: &Arc<Self>,
        login: &Login,
        nonce: Nonce,
        action: Action,
        not_after: Option<TimeMs>,
    ) -> Result<Done, RpcError> {
        let none = ClientOrderId::default();
        let submitted = self.submit_numbered(login, Some(nonce), action, (none, not_after))?;
        self.wait(submitted).await
    }

    /// Signs and submits an action.
    ///
    /// # Errors
    /// When the command was certainly not queued.
    pub fn submit(
        &self,
        login: &Login,
        action: Action,
        client_id: ClientOrderId,
        not_after: Option<TimeMs>,
    ) -> Result<Submitted, RpcError> {
        self.submit_numbered(login, None, action, (client_id, not_after))
    }

    fn submit_numbered(
        &self,
        login: &Login,
        nonce: Option<Nonce>,
        action: Action,
        (client_id, not_after): (ClientOrderId, Option<TimeMs>),
    ) -> Result<Submitted, RpcError> {
        login.require_trade()?;
        let public = self.signers.public(&login.key).ok_or_else(unsigned)?;
        let mut state = self.state();
        let outcomes = &mut state.memory.outcomes;
        if outcomes.open_of(public) >= self.config.commands_open_max {
            return Err(RpcError::new(10_047, "matching_engine_queue_full")
                .because("too many of the key's commands wait for their outcome"));
        }
        let valid_until = {
            let latest = state
                .memory
                .clock
                .time
                .plus_ms(self.config.command_valid_ms);
            // 0 would mean "never" to the engine.
            let first = TimeMs::new(1);
            not_after.map_or(latest, |limit| limit.clamp(first, latest.max(first)))
        };
        let signed = match nonce {
            Some(nonce) => self.signers.sign_as(&login.key, nonce, action, valid_until),
            None => self.signers.sign(&login.key, action, valid_until),
        };
        let (ticket, command) = signed.ok_or_else(unsigned)?;
        let account = login.key.account();
        let outcomes = &mut state.memory.outcomes;
        let answer = outcomes.open(account, ticket, client_id, valid_until);
        let queued = self.venue.submit(command);
        if queued.is_err() {
            state.memory.outcomes.withdraw(ticket);
        }
        drop(state);
        queued.map_err(not_queued)?;
        self.metrics.commands_total.up();
        Ok(Submitted {
            answer,
            ticket,
            client_id,
            valid_until,
        })
    }

    /// Waits until a block is kept as well as was asked for, or the request's time is up. Returns how
    /// well it is kept by then.
    pub async fn acknowledged(&self, level: Acknowledged, height: Height) -> Acknowledged {
        let published = match (level, self.venue.published()) {
            (Acknowledged::Published, Some(published)) => published,
            _ => return Acknowledged::Ordered,
        };
        let mut published = published;
        let there = published.wait_for(|published| *published >= height);
        match tokio::time::timeout(self.config.outcome_timeout, there).await {
            Ok(Ok(_)) => Acknowledged::Published,
            Ok(Err(_)) | Err(_) => Acknowledged::Ordered,
        }
    }

    /// Waits for a submitted command's fate.
    ///
    /// # Errors
    /// As [`Gateway::execute`].
    pub async fn wait(&self, submitted: Submitted) -> Result<Done, RpcError> {
        let Submitted {
            answer,
            ticket,
            client_id,
            valid_until,
        } = submitted;
        match tokio::time::timeout(self.config.outcome_timeout, answer).await {
            Ok(Ok(fate)) => done(fate),
            Ok(Err(_)) | Err(_) => {
                self.metrics.outcome_unknown_total.up();
                Err(unknown(ticket, client_id, valid_until))
            }
        }
    }
}

fn unsigned() -> RpcError {
    RpcError::forbidden("this gateway holds no session key for the API key")
}

fn not_queued(error: SubmitError) -> RpcError {
    match error {
        SubmitError::Busy => RpcError::new(10_047, "matching_engine_queue_full")
            .because("the validator's queue is full; nothing was queued, try again"),
        SubmitError::Closed => RpcError::new(13_028, "temporarily_unavailable")
            .because("the validator beside this gateway has stopped; nothing was queued"),
    }
}

fn unknown(ticket: Ticket, client_id: ClientOrderId, valid_until: TimeMs) -> RpcError {
    RpcError::new(OUTCOME_UNKNOWN, "outcome_unknown").with_data(json!({
        "reason": "the command was queued and its fate is not known yet; ask lifeboat/get_outcome",
        "client_order_id": optional_id(client_id),
        "nonce": ticket.nonce.get().to_string(),
        "session_key": ticket.key.to_string(),
        "valid_until": valid_until.get(),
    }))
}

/// A client order id as text; `null` for none.
pub fn optional_id(id: ClientOrderId) -> Value {
    match id.get() {
        0 => Value::Null,
        raw => raw.to_string().into(),
    }
}

fn done(fate: Fate) -> Result<Done, RpcError> {
    match fate {
        Fate::Applied { height, effects } => Ok(Done {
            height,
            effects: *effects,
        }),
        Fate::Rejected { reject, .. } => Err(RpcError::from_reject(reject)),
        Fate::Quarantined { .. } => Err(RpcError::new(11_031, "other_error")
            .because("the command is on the venue's quarantine list and was skipped")),
        Fate::Dead | Fate::Open => Err(RpcError::new(COMMAND_DEAD, "command_expired")
            .because("block time passed the command's valid_until without it: it never executed")),
    }
}

/// Whether an error is this reject.
pub fn is_reject(error: &RpcError, reject: Reject) -> bool {
    let data = error.data.as_ref();
    data.is_some_and(|data| data["reject"] == json!(reject.code()))
}

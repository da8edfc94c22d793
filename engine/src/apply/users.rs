//! Users' commands: who may do what, then dispatch.

use alloc::vec::Vec;

use super::Engine;
use crate::block::Signer;
use crate::command::{Action, UserCommand, UserPayload};
use crate::event::Event;
use crate::modes::{Activity, permits};
use crate::reject::Reject;
use crate::types::{AccountId, MarginModel, PublicKey, TimeMs};

impl Engine {
    pub(super) fn execute_user(
        &mut self,
        command: &UserCommand,
        signer: Option<&Signer>,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let payload = &command.payload;
        self.authenticate(payload, signer)?;
        let account = payload.account;
        match &payload.action {
            Action::PlaceOrder(order) => self.place_order(account, order, events),
            Action::AmendOrder(amend) => self.amend_order(account, amend, events),
            Action::CancelOrder(order) => self.cancel_order(account, *order, events),
            Action::CancelAll(scope) => self.cancel_all(account, *scope, events),
            Action::MassQuote(quotes) => self.mass_quote(account, quotes, events),
            Action::SetMarketMakerProtection(limits) => self.set_protection(account, limits),
            Action::RegisterSession { key, expires_at } => {
                self.register_session(account, *key, *expires_at, events)
            }
            Action::RevokeSession { key } => self.revoke_session(account, *key, events),
            Action::SetMarginModel(model) => self.set_margin_model(account, *model),
            Action::BidLiquidation {
                account: target,
                part_ppm,
                price_max,
            } => self.bid_liquidation(account, *target, *part_ppm, *price_max, events),
            Action::Withdraw {
                chain,
                recipient,
                amount,
            } => self.withdraw(account, *chain, (*recipient, *amount), events),
            Action::SealOrder(order) => self.seal_order(account, payload.nonce, order, events),
            Action::WithdrawSealed {
                underlying,
                auction,
                seal,
            } => self.withdraw_sealed(account, (*underlying, *auction, *seal), events),
        }
    }

    /// Refuses in a fixed order: account, signature, key, expiry of the command, nonce. Past this
    /// point the nonce is spent whatever becomes of the command, so that nobody can have a refused
    /// command executed later, when it would pass.
    fn authenticate(
        &mut self,
        payload: &UserPayload,
        signer: Option<&Signer>,
    ) -> Result<(), Reject> {
        let now = self.time;
        let account = self
            .ledger
            .account(payload.account)
            .ok_or(Reject::UnknownAccount)?;
        if self.is_reserved(payload.account) {
            return Err(Reject::UnknownAccount);
        }
        let session = match signer.ok_or(Reject::BadSignature)? {
            Signer::Owner(owner) if *owner == account.owner => None,
            Signer::Session(key) => {
                let found = account.sessions.iter().position(|s| s.key == *key);
                let at = found.ok_or(Reject::UnknownSession)?;
                if account.sessions.get(at).is_none_or(|s| s.expires_at <= now) {
                    return Err(Reject::SessionExpired);
                }
                if owner_only(&payload.action) {
                    return Err(Reject::OwnerKeyRequired);
                }
                found
            }
            Signer::Owner(_) | Signer::Validator(_) => return Err(Reject::BadSignature),
        };
        if payload.valid_until.get() != 0 && now >= payload.valid_until {
            return Err(Reject::CommandExpired);
        }
        let account = self
            .ledger
            .account_mut(payload.account)
            .ok_or(Reject::UnknownAccount)?;
        let nonces = match session {
            Some(at) => account.sessions.get_mut(at).map(|s| &mut s.nonces),
            None => Some(&mut account.owner_nonces),
        };
        let fresh = nonces.is_some_and(|window| window.consume(payload.nonce));
        if fresh {
            Ok(())
        } else {
            Err(Reject::StaleNonce)
        }
    }

    fn register_session(
        &mut self,
        account: AccountId,
        key: PublicKey,
        expires_at: TimeMs,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit(Activity::Manage)?;
        let now = self.time;
        let entry = self
            .ledger
            .account_mut(account)
            .ok_or(Reject::UnknownAccount)?;
        entry.register(key, expires_at, now)?;
        events.push(Event::SessionRegistered {
            account,
            key,
            expires_at,
        });
        Ok(())
    }

    fn revoke_session(
        &mut self,
        account: AccountId,
        key: PublicKey,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit(Activity::Manage)?;
        self.ledger
            .account_mut(account)
            .ok_or(Reject::UnknownAccount)?
            .revoke(&key)?;
        events.push(Event::SessionRevoked { account, key });
        Ok(())
    }

    fn set_margin_model(&mut self, account: AccountId, model: MarginModel) -> Result<(), Reject> {
        self.permit(Activity::Manage)?;
        if self.initial_margin_under(account, model)?.get() < 0 {
            return Err(Reject::MarginBelowInitial);
        }
        let entry = self
            .ledger
            .account_mut(account)
            .ok_or(Reject::UnknownAccount)?;
        entry.model = model;
        self.margin_forget(account);
        Ok(())
    }

    /// Refuses what the mode forbids (I7).
    pub(super) fn permit(&self, activity: Activity) -> Result<(), Reject> {
        if permits(self.mode.mode, activity) {
            Ok(())
        } else {
            Err(Reject::ModeForbids)
        }
    }
}

const fn owner_only(action: &Action) -> bool {
    matches!(
        action,
        Action::RegisterSession { .. }
            | Action::RevokeSession { .. }
            | Action::SetMarginModel(_)
            | Action::Withdraw { .. }
    )
}

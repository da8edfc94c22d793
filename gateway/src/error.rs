//! What a client is told when a request cannot be done: JSON-RPC errors with Deribit's codes.
//!
//! **Owns** the one table from the engine's rejects to Deribit's codes. **Never** invents an
//! outcome: an unknown fate has its own code, [`OUTCOME_UNKNOWN`].

use std::borrow::Cow;

use lifeboat_engine::Reject;
use serde_json::{Value, json};

/// The fate of a command is not known yet. Its `data` says how to find out and until when.
pub const OUTCOME_UNKNOWN: i64 = 19_000;
/// The command's `valid_until` passed in block time without it: it never executed.
pub const COMMAND_DEAD: i64 = 19_001;

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// Deribit's code, or a JSON-RPC one.
    pub code: i64,
    /// Deribit's name of the code.
    pub message: Cow<'static, str>,
    /// Reason and parameter, or what else helps.
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    pub const fn new(code: i64, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
            data: None,
        }
    }

    /// The same with a reason for a person.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.data = Some(json!({ "reason": reason.into() }));
        self
    }

    /// The same with data.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The bytes are not JSON.
    pub fn parse(reason: impl Into<String>) -> Self {
        Self::new(-32_700, "Parse error").because(reason)
    }

    /// JSON, but not a request.
    pub fn request(reason: impl Into<String>) -> Self {
        Self::new(-32_600, "Invalid Request").because(reason)
    }

    /// No such method.
    pub fn method(name: &str) -> Self {
        Self::new(-32_601, "Method not found").with_data(json!({ "method": clip(name) }))
    }

    /// A parameter is missing or of the wrong type.
    pub fn param(param: &str, reason: impl Into<String>) -> Self {
        Self::new(-32_602, "Invalid params")
            .with_data(json!({ "param": param, "reason": reason.into() }))
    }

    /// Wrong, missing or expired credentials.
    pub fn unauthorized(reason: &'static str) -> Self {
        Self::new(13_009, "unauthorized").because(reason)
    }

    /// The credentials do not allow this.
    pub fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(13_021, "forbidden").because(reason)
    }

    /// Known to Deribit's clients, not offered by this venue.
    pub fn not_offered(reason: &'static str) -> Self {
        Self::new(10_033, "not_implemented").because(reason)
    }

    /// Over a rate or a bound of the gateway.
    pub fn too_many(reason: &'static str) -> Self {
        Self::new(10_028, "too_many_requests").because(reason)
    }

    /// No such order on this account, as far as the gateway remembers.
    pub const fn order_not_found() -> Self {
        Self::new(10_004, "order_not_found")
    }

    /// The error for an engine's refusal.
    pub fn from_reject(reject: Reject) -> Self {
        let (code, message) = deribit_code(reject);
        Self::new(code, message).with_data(json!({
            "reason": reject.name(),
            "reject": reject.code(),
        }))
    }

    /// The error object.
    pub fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        error
    }

    /// The HTTP status that goes with it, as Deribit's edge answers.
    pub const fn http_status(&self) -> u16 {
        match self.code {
            10_028 => 429,
            10_047 | 11_051 | 13_028 => 503,
            _ => 400,
        }
    }
}

/// At most 64 characters of what a client sent, for echoing.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Deribit's code and name for each reject.
pub const fn deribit_code(reject: Reject) -> (i64, &'static str) {
    use Reject as R;
    match reject {
        R::Malformed => (11_050, "bad_request"),
        R::UnknownAccount => (13_007, "user_not_found"),
        R::BadSignature | R::UnknownSession | R::SessionExpired => (13_009, "unauthorized"),
        R::StaleNonce | R::CommandExpired | R::NoMark => (10_040, "retry"),
        R::OwnerKeyRequired | R::UnknownValidator => (13_021, "forbidden"),
        R::UnknownInstrument | R::UnknownVault => (13_020, "not_found"),
        R::InstrumentClosed | R::AuctionClosed | R::NoAuction => (13_019, "orderbook_closed"),
        R::OffTick => (10_043, "price_wrong_tick"),
        R::OffLot | R::OrderTooLarge => (10_021, "invalid_amount"),
        R::PriceOutsideBand => (10_011, "price_not_allowed"),
        R::ConflictingFlags => (11_047, "unsupported_arg_combination"),
        R::ExpiryInPast | R::LabelTooLong | R::BadQuoteSet | R::BadWithdrawal => {
            (11_029, "invalid_arguments")
        }
        R::UnknownOrder | R::UnknownSeal => (11_044, "not_open_order"),
        R::WouldTake => (11_054, "post_only_reject"),
        R::DuplicateClientId => (10_003, "order_overlap"),
        R::TooManyOrders | R::TooManySeals => (10_013, "pme_max_total_open_orders"),
        R::TooManyHoldings => (10_015, "pme_max_option_open_orders"),
        R::AmendBelowFilled => (11_008, "already_filled"),
        R::MarginBelowInitial | R::AboveCash => (10_009, "not_enough_funds"),
        R::AccountInLiquidation => (10_019, "locked_by_admin"),
        R::VenueFull => (10_047, "matching_engine_queue_full"),
        R::ModeForbids | R::WithdrawalsHeld | R::AuctionAborted | R::SealsOff => {
            (11_051, "system_maintenance")
        }
        R::TooManySessions
        | R::SessionRetired
        | R::NotFillable
        | R::WouldNotReduce
        | R::NoLiquidity
        | R::PositionTooLarge
        | R::ProtectionFrozen
        | R::BondTooSmall
        | R::SealBroken
        | R::SealMisplaced
        | R::SealUnopened
        | R::BadOpening
        | R::InGrace
        | R::NotInLiquidation
        | R::BidBelowAuction
        | R::BadPart
        | R::BadObservation
        | R::AlreadyAttested
        | R::BadProposal
        | R::NotNext => (11_030, "other_reject"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reject_has_a_code_and_keeps_its_own_number() {
        for &reject in Reject::ALL {
            let error = RpcError::from_reject(reject);
            assert!((10_000..14_000).contains(&error.code), "{reject:?}");
            let data = error.data.clone().unwrap_or_default();
            assert_eq!(data["reject"], json!(reject.code()), "{reject:?}");
            assert_eq!(data["reason"], json!(reject.name()), "{reject:?}");
        }
    }

    #[test]
    fn the_codes_clients_branch_on() {
        let cases = [
            (Reject::MarginBelowInitial, 10_009),
            (Reject::UnknownOrder, 11_044),
            (Reject::WouldTake, 11_054),
            (Reject::ModeForbids, 11_051),
            (Reject::OffTick, 10_043),
            (Reject::BadSignature, 13_009),
        ];
        for (reject, code) in cases {
            assert_eq!(deribit_code(reject).0, code, "{reject:?}");
        }
    }
}

//! Methods of Deribit's that this venue knows and does not offer: each says why.

use super::Call;
use crate::error::RpcError;

/// Why a known method is not offered; `None` when the method is not known at all.
pub fn reason(call: &Call) -> Option<RpcError> {
    let method = call.method.as_str();
    let name = method
        .strip_prefix("private/")
        .or_else(|| method.strip_prefix("public/"))?;
    Some(match name {
        "withdraw" | "cancel_withdrawal" => RpcError::not_offered(
            "a withdrawal needs the owner's own key; an API key can only trade",
        ),
        "get_current_deposit_address" | "create_deposit_address" => RpcError::not_offered(
            "deposits go to the vault contract on chain, not to an address of the venue",
        ),
        "submit_transfer_to_subaccount"
        | "submit_transfer_between_subaccounts"
        | "submit_transfer_to_user"
        | "cancel_transfer_by_id"
        | "move_positions" => RpcError::new(12_100, "transfer_not_allowed")
            .because("accounts cannot transfer to each other; withdraw and deposit on chain"),
        "get_funding_rate_value" | "get_funding_rate_history" | "get_funding_chart_data" => {
            funding(call)
        }
        "get_volatility_index_data" | "get_apr_history" => {
            RpcError::not_offered("this venue has no such data")
        }
        "get_combos" | "get_combo_ids" | "get_combo_details" | "create_combo"
        | "get_leg_prices" => RpcError::not_offered("combos are not listed"),
        "execute_block_trade"
        | "verify_block_trade"
        | "simulate_block_trade"
        | "invalidate_block_trade_signature"
        | "get_block_trade"
        | "get_block_trades"
        | "get_last_block_trades_by_currency"
        | "get_pending_block_trades"
        | "get_block_trade_requests"
        | "approve_block_trade"
        | "reject_block_trade"
        | "get_broker_trades"
        | "get_broker_trade_requests" => RpcError::not_offered("block trades are not offered"),
        "create_subaccount"
        | "remove_subaccount"
        | "change_subaccount_name"
        | "toggle_subaccount_login"
        | "get_subaccounts_details" => {
            RpcError::not_offered("an account has no subaccounts; open another with its own owner")
        }
        "create_api_key"
        | "edit_api_key"
        | "remove_api_key"
        | "list_api_keys"
        | "reset_api_key"
        | "enable_api_key"
        | "disable_api_key"
        | "change_scope_in_api_key"
        | "change_api_key_name" => {
            RpcError::not_offered("API keys are made by the operator's command line")
        }
        "change_margin_model" => {
            RpcError::not_offered("the margin model is chosen with the owner's own key")
        }
        "simulate_portfolio" | "pme_simulate" | "get_margins" | "get_order_margin_by_ids" => {
            RpcError::not_offered("margin is not simulated by the gateway")
        }
        "close_position" => RpcError::not_offered("place a reduce-only order instead"),
        "exchange_token" | "fork_token" => RpcError::not_offered("sessions are not forked"),
        _ => return None,
    })
}

fn funding(call: &Call) -> RpcError {
    let name = call.params.text("instrument_name").ok().flatten();
    let state = call.gateway.state();
    let known = name.is_some_and(|name| state.memory.directory.find(name).is_some());
    match known {
        true => RpcError::new(10_031, "invalid_args_for_instrument")
            .because("funding is only paid on perpetuals"),
        false => super::market::not_found(),
    }
}

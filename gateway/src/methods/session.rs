//! The session: authentication, heartbeats, subscriptions, cancel-on-disconnect.

use serde_json::{Value, json};

use super::{Answer, Call};
use crate::auth::{ACCESS_TOKEN_MS, Grant};
use crate::connection::CancelScope;
use crate::error::RpcError;
use crate::gateway::now_ms;
use crate::hub::{CHANNELS_MAX, ChannelKey, Hub};
use crate::keys::Scope;
use crate::rpc;
use crate::scene::Scene;
use crate::topic::Topic;

/// Shortest heartbeat, in seconds, as Deribit's.
const HEARTBEAT_MIN_S: u64 = 10;

/// Answers a public session method; `None` when there is no such method.
pub fn public(call: &Call, name: &str) -> Option<Result<Answer, RpcError>> {
    Some(match name {
        "auth" => auth(call).map(Answer::Result),
        "test" => test(call).map(Answer::Result),
        "hello" => Ok(json!({ "version": env!("CARGO_PKG_VERSION") }).into()),
        "set_heartbeat" => set_heartbeat(call).map(Answer::Result),
        "disable_heartbeat" => disable_heartbeat(call).map(Answer::Result),
        "subscribe" => subscribe(call, false),
        "unsubscribe" => unsubscribe(call).map(Answer::Result),
        "unsubscribe_all" => unsubscribe_all(call).map(Answer::Result),
        _ => return None,
    })
}

/// Answers a private session method; `None` when there is no such method.
pub fn private(call: &Call, name: &str) -> Option<Result<Answer, RpcError>> {
    Some(match name {
        "subscribe" => subscribe(call, true),
        "unsubscribe" => unsubscribe(call).map(Answer::Result),
        "unsubscribe_all" => unsubscribe_all(call).map(Answer::Result),
        "logout" => logout(call).map(Answer::Result),
        "enable_cancel_on_disconnect" => cancel_on_disconnect(call, true).map(Answer::Result),
        "disable_cancel_on_disconnect" => cancel_on_disconnect(call, false).map(Answer::Result),
        "get_cancel_on_disconnect" => get_cancel_on_disconnect(call).map(Answer::Result),
        _ => return None,
    })
}

fn auth(call: &Call) -> Result<Value, RpcError> {
    let grant = call.gateway.auth.grant(&call.params, now_ms())?;
    if let Some(connection) = &call.connection {
        connection.log_in(grant.login.clone());
    }
    Ok(grant_json(call, &grant))
}

fn grant_json(call: &Call, grant: &Grant) -> Value {
    let trade = match grant.login.scope {
        Scope::Trade => "trade:read_write",
        Scope::Read => "trade:read",
    };
    let mut answer = json!({
        "token_type": "bearer",
        "scope": format!("account:read {trade} wallet:none connection mainaccount"),
        "access_token": grant.access_token,
        "refresh_token": grant.refresh_token,
        "expires_in": ACCESS_TOKEN_MS / 1_000,
        "enabled_features": [],
        "google_login": false,
        "mandatory_tfa_status": "none",
    });
    if let Ok(Some(state)) = call.params.text("state") {
        answer["state"] = state.into();
    }
    answer
}

fn test(call: &Call) -> Result<Value, RpcError> {
    if call.params.text("expected_result")? == Some("exception") {
        return Err(RpcError::new(11_031, "other_error").because("an error was asked for"));
    }
    Ok(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

fn set_heartbeat(call: &Call) -> Result<Value, RpcError> {
    let seconds = call.params.uint("interval")?.unwrap_or(0);
    if !(HEARTBEAT_MIN_S..=3_600).contains(&seconds) {
        return Err(RpcError::param(
            "interval",
            "must be within 10..3600 seconds",
        ));
    }
    call.connection()?.set_heartbeat(Some(seconds));
    Ok("ok".into())
}

fn disable_heartbeat(call: &Call) -> Result<Value, RpcError> {
    call.connection()?.set_heartbeat(None);
    Ok("ok".into())
}

fn logout(call: &Call) -> Result<Value, RpcError> {
    call.gateway.auth.logout(call.login()?);
    if let Some(connection) = &call.connection {
        connection.log_out();
    }
    Ok("ok".into())
}

fn cancel_on_disconnect(call: &Call, enable: bool) -> Result<Value, RpcError> {
    let login = call.login()?;
    login.require_trade()?;
    let connection = call.connection()?;
    let scope = match call.params.text("scope")? {
        None | Some("connection") => CancelScope::Connection,
        Some("account") => CancelScope::Account,
        Some(_) => return Err(RpcError::param("scope", "must be connection or account")),
    };
    connection.cancel_on_disconnect(enable.then_some(scope));
    Ok("ok".into())
}

fn get_cancel_on_disconnect(call: &Call) -> Result<Value, RpcError> {
    let scope = call.connection()?.cancels();
    let name = match scope {
        Some(CancelScope::Account) => "account",
        _ => "connection",
    };
    Ok(json!({ "scope": name, "enabled": scope.is_some() }))
}

/// Subscribes to the channels that exist and that the login may hear. As Deribit's, the answer
/// lists those that were subscribed; none at all is an error.
fn subscribe(call: &Call, private: bool) -> Result<Answer, RpcError> {
    let connection = call.connection()?;
    let names = call.params.texts("channels")?;
    if names.len() > CHANNELS_MAX {
        return Err(RpcError::param("channels", "too many channels"));
    }
    let account = call.login.as_ref().map(|login| login.key.account());
    let mut state = call.gateway.state();
    let topics: Vec<(ChannelKey, Topic)> = names
        .iter()
        .filter_map(|name| {
            let topic = Topic::parse(name, &state.memory.directory)?;
            let owner = if topic.private() {
                account?
            } else {
                return Some(((name.clone(), None), topic));
            };
            Some(((name.clone(), Some(owner)), topic))
        })
        .filter(|(key, _)| private || key.1.is_none())
        .collect();
    if topics.is_empty() && !names.is_empty() {
        return Err(RpcError::new(11_052, "subscribe_error_unsubscribed")
            .because("none of the channels exists or may be heard by this session"));
    }
    let needs = Hub::needs_of(&topics, &state.memory);
    let snapshot = call.gateway.read(&needs);
    let state = &mut *state;
    let scene = Scene {
        memory: &state.memory,
        snapshot: &snapshot,
    };
    let accepted = |names: &[String]| rpc::result(call, &json!(names));
    let listener = (connection.id(), connection.outbox());
    state.hub.subscribe(listener, topics, accepted, &scene);
    Ok(Answer::Sent)
}

fn unsubscribe(call: &Call) -> Result<Value, RpcError> {
    let connection = call.connection()?;
    let names = call.params.texts("channels")?;
    let mut state = call.gateway.state();
    Ok(json!(state.hub.unsubscribe(connection.id(), Some(&names))))
}

fn unsubscribe_all(call: &Call) -> Result<Value, RpcError> {
    let connection = call.connection()?;
    call.gateway.state().hub.unsubscribe(connection.id(), None);
    Ok("ok".into())
}

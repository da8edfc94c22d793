//! The methods by name.
//!
//! **Owns** the dispatch: which methods exist, which need a login, which need a WebSocket.

mod account;
pub mod auction;
mod history;
pub mod lifeboat;
mod market;
mod restatement;
mod session;
mod trading;
mod unsupported;

use std::sync::Arc;

use serde_json::Value;

use crate::auth::Login;
use crate::connection::Connection;
use crate::error::RpcError;
use crate::gateway::Gateway;
use crate::params::Params;

/// A request to be answered.
#[derive(Debug)]
pub struct Call {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The WebSocket it came on; `None` for HTTP.
    pub connection: Option<Arc<Connection>>,
    /// Who asks, when known.
    pub login: Option<Login>,
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Params,
    /// The request's id, echoed.
    pub id: Value,
    /// When it came, in microseconds since the epoch.
    pub received_us: u64,
}

/// What a method answers.
#[derive(Debug)]
pub enum Answer {
    /// A result to be sent.
    Result(Value),
    /// The method has sent its answer itself, in order with what follows it.
    Sent,
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self::Result(value)
    }
}

impl Call {
    /// The login that a private method needs.
    ///
    /// # Errors
    /// `unauthorized`.
    pub fn login(&self) -> Result<&Login, RpcError> {
        self.login
            .as_ref()
            .ok_or_else(|| RpcError::unauthorized("authenticate with public/auth first"))
    }

    /// The connection that a streaming method needs.
    ///
    /// # Errors
    /// `must_be_websocket_request`.
    pub fn connection(&self) -> Result<&Arc<Connection>, RpcError> {
        self.connection
            .as_ref()
            .ok_or(RpcError::new(10_030, "must_be_websocket_request"))
    }
}

/// Answers a request.
///
/// # Errors
/// What the client is told instead of a result.
pub async fn dispatch(call: &Call) -> Result<Answer, RpcError> {
    let method = call.method.as_str();
    if let Some(name) = method.strip_prefix("private/") {
        call.gateway.admit(call.login()?.key.account())?;
        if let Some(answer) = private(call, name).await {
            return answer;
        }
    } else if let Some(name) = method.strip_prefix("public/") {
        if let Some(answer) = public(call, name) {
            return answer;
        }
    } else if let Some(name) = method.strip_prefix("lifeboat/")
        && let Some(answer) = lifeboat::answer(call, name)
    {
        return answer.map(Answer::Result);
    }
    match unsupported::reason(call) {
        Some(error) => Err(error),
        None => Err(RpcError::method(method)),
    }
}

fn public(call: &Call, name: &str) -> Option<Result<Answer, RpcError>> {
    if let Some(answer) = session::public(call, name) {
        return Some(answer);
    }
    market::answer(call, name).map(|answer| answer.map(Answer::Result))
}

async fn private(call: &Call, name: &str) -> Option<Result<Answer, RpcError>> {
    if let Some(answer) = session::private(call, name) {
        return Some(answer);
    }
    if let Some(answer) = trading::answer(call, name).await {
        return Some(answer.map(Answer::Result));
    }
    if let Some(answer) = auction::answer(call, name).await {
        return Some(answer.map(Answer::Result));
    }
    let answer = account::answer(call, name)
        .or_else(|| history::answer(call, name))
        .or_else(|| restatement::answer(call, name));
    answer.map(|answer| answer.map(Answer::Result))
}

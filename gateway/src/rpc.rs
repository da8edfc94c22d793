//! The JSON-RPC 2.0 envelope, with Deribit's timing fields.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::error::RpcError;
use crate::methods::Call;
use crate::params::Params;

/// A request's parts.
#[derive(Debug)]
pub struct Request {
    /// Its id, echoed; `null` when absent.
    pub id: Value,
    /// Its method.
    pub method: String,
    /// Its parameters.
    pub params: Params,
}

/// Reads a request. Nesting is bounded by the parser (128 levels).
///
/// # Errors
/// The request's id, as far as it could be read, and the error.
pub fn request(text: &[u8]) -> Result<Request, (Value, RpcError)> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| (Value::Null, RpcError::parse(error.to_string())))?;
    let Value::Object(mut map) = value else {
        let error = RpcError::request("a request is one JSON object; batches are not taken");
        return Err((Value::Null, error));
    };
    let id = match map.remove("id") {
        Some(id @ (Value::Number(_) | Value::String(_))) => id,
        None | Some(Value::Null) => Value::Null,
        Some(_) => {
            let error = RpcError::request("id must be a number or a string");
            return Err((Value::Null, error));
        }
    };
    let method = match map.remove("method") {
        Some(Value::String(method)) if !method.is_empty() => method,
        _ => return Err((id, RpcError::request("method must be a string"))),
    };
    let params = map.remove("params").unwrap_or_default();
    match Params::from_json(params) {
        Ok(params) => Ok(Request { id, method, params }),
        Err(error) => Err((id, error)),
    }
}

/// A result's envelope.
pub fn result(call: &Call, value: &Value) -> Utf8Bytes {
    envelope(&call.id, "result", value, call.received_us)
}

/// An error's envelope.
pub fn error(id: &Value, error: &RpcError, received_us: u64) -> Utf8Bytes {
    envelope(id, "error", &error.to_json(), received_us)
}

fn envelope(id: &Value, kind: &str, body: &Value, received_us: u64) -> Utf8Bytes {
    let now = now_us();
    let took = now.saturating_sub(received_us);
    let id = match id {
        Value::Null => String::new(),
        id => format!("\"id\":{id},"),
    };
    format!(
        "{{\"jsonrpc\":\"2.0\",{id}\"{kind}\":{body},\"usIn\":{received_us},\"usOut\":{now},\
         \"usDiff\":{took},\"testnet\":false}}"
    )
    .into()
}

/// The wall clock, in microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |elapsed| elapsed.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_request_is_told_why() {
        let deep = "[".repeat(10_000);
        let cases: [(&str, i64); 9] = [
            ("", -32_700),
            ("{", -32_700),
            ("\u{1}", -32_700),
            (&deep, -32_700),
            ("[]", -32_600),
            ("7", -32_600),
            ("{}", -32_600),
            (r#"{"method":5}"#, -32_600),
            (r#"{"method":"public/test","params":[1]}"#, -32_600),
        ];
        for (text, code) in cases {
            let (_, error) = request(text.as_bytes()).expect_err(text);
            assert_eq!(error.code, code, "{text}");
        }
        let (id, _) = request(br#"{"id":7,"method":null}"#).expect_err("no method");
        assert_eq!(id, Value::from(7));
    }

    #[test]
    fn an_envelope_is_json_with_its_id() {
        let text = error(&Value::from("x"), &RpcError::order_not_found(), 5);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["id"], "x");
        assert_eq!(value["error"]["code"], 10_004);
        assert_eq!(value["usIn"], 5);
    }
}

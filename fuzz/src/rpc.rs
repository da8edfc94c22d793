//! A JSON-RPC request, as text of a WebSocket message or an HTTP body, and a query string.

use lifeboat_gateway::input;

/// A request is read or refused with one of JSON-RPC's own codes; its parameters are read or refused by
/// every reader there is. `true` if it was read.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    if let Ok(query) = core::str::from_utf8(bytes)
        && let Err(code) = input::query(query)
    {
        assert!(code == -32_602, "a query is refused with {code}");
    }
    match input::request(bytes) {
        Ok(method) => {
            assert!(!method.is_empty(), "a request without a method");
            true
        }
        Err(code) => {
            assert!(
                [-32_700, -32_600, -32_602].contains(&code),
                "refused with {code}"
            );
            false
        }
    }
}

//! Deribit-shaped JSON-RPC over WebSocket and HTTP.

//! What a client's text is read with, on text that came out wrong: it never panics, holds a bounded
//! amount of memory, and answers with one of the codes it may.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../fuzz/src/authorization.rs"]
mod authorization;
#[path = "../../engine/tests/decoders/memory.rs"]
mod memory;
#[path = "../../engine/tests/decoders/mutations.rs"]
mod mutations;
#[path = "../../fuzz/src/rpc.rs"]
mod rpc;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Most memory for reading a request: JSON's tree costs a small multiple of its text.
const BYTES_PER_BYTE: usize = 200;
const BASE: usize = 64 << 10;

#[track_caller]
fn bounded(bytes: &[u8], check: fn(&[u8]) -> bool) -> bool {
    mutations::bounded(bytes, BASE + BYTES_PER_BYTE * bytes.len(), check)
}

const REQUESTS: [&str; 4] = [
    r#"{"jsonrpc":"2.0","id":5,"method":"private/buy","params":{"instrument_name":"BTC_USDC-1JAN27-1-C","amount":0.1,"price":"5.5e1","valid_until":18446744073709551615,"post_only":"true"}}"#,
    r#"{"id":"é","method":"private/mass_quote","params":{"quotes":[{"instrument_name":"x","bid":{"price":-0.0,"amount":1e308}}],"channels":["a\u0000",""]}}"#,
    "instrument_name=BTC%20x&amount=1e-9&price=%F0%9F%9B%9F&post_only=false&quotes=%5B%7B%7D%5D",
    r#"{"method":"public/test","params":[]}"#,
];

#[test]
fn wrong_requests_get_an_answer() {
    for request in REQUESTS {
        bounded(request.as_bytes(), rpc::check);
        mutations::each(request.as_bytes(), |bytes| {
            bounded(bytes, rpc::check);
        });
    }
    let deep = [
        b"{\"method\":\"x\",\"params\":{\"quotes\":".to_vec(),
        vec![b'['; 60_000],
    ]
    .concat();
    assert!(!bounded(&deep, rpc::check));
}

#[test]
fn wrong_headers_let_nobody_in() {
    for header in [
        "Bearer 0123456789abcdef",
        "bearer ",
        "deri-hmac-sha256 id=x,ts=1795348800000,sig=00ff,nonce=1",
        "deri-hmac-sha256 id=,ts=99999999999999999999,sig=zz,nonce=,id=x",
        "Basic eDp5",
    ] {
        assert!(bounded(header.as_bytes(), authorization::check), "{header}");
        mutations::each(header.as_bytes(), |bytes| {
            bounded(bytes, authorization::check);
        });
    }
}

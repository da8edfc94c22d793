//! A frame on a validator's own port, from a client or, at a client, from a validator.

use lifeboat_node::ingress::{Reply, Request};

/// A request or a reply decodes or is refused; what decodes has exactly one encoding. `true` if it
/// decoded as either.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let request = borsh::from_slice::<Request>(bytes).ok();
    if let Some(request) = &request {
        let again = borsh::to_vec(request).expect("a Vec takes any bytes");
        assert!(again == bytes, "two encodings of one request");
    }
    let reply = borsh::from_slice::<Reply>(bytes).ok();
    if let Some(reply) = &reply {
        let again = borsh::to_vec(reply).expect("a Vec takes any bytes");
        assert!(again == bytes, "two encodings of one reply");
    }
    request.is_some() || reply.is_some()
}

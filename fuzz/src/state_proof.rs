//! A proof as a user got it from somebody.

use lifeboat_engine::types::{AccountId, Digest, InstrumentId, OrderId};
use lifeboat_proof::StateProof;

/// A proof decodes or is refused; what decodes has exactly one encoding and can be checked against
/// anything. `true` if it decoded.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(proof) = StateProof::decode(bytes) else {
        return false;
    };
    let again = borsh::to_vec(&proof).expect("a Vec takes any bytes");
    assert!(again == bytes, "two encodings of one proof");
    let root = Digest([7; 32]);
    for number in [0, 1, u32::MAX] {
        let account = proof.verify_account(&root, AccountId::new(number), bytes, &[bytes]);
        let order = proof.verify_order(&root, OrderId::from_parts(1, number), bytes);
        let instrument = proof.verify_instrument(&root, InstrumentId::new(number), bytes);
        let path = lifeboat_proof::verify_leaf(&root, number, bytes, &proof.path);
        for verdict in [account, order, instrument, path] {
            assert!(verdict.is_err(), "a proof against a root nobody made");
        }
    }
    true
}

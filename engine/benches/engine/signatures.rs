//! ed25519 signatures of session keys, checked in batches.

use crate::clock::{median_and_best, timed};
use crate::venue::limit;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::Command;
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::{Action, UserCommand, UserPayload, UserSignature};
use lifeboat_engine::types::{AccountId, ChainId, Nonce, PublicKey, Side, TimeInForce, TimeMs};

const CHAIN: ChainId = ChainId([7; 32]);
const RUNS: usize = 15;

fn signed(number: u32, seed: u32) -> Command {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let key = SigningKey::from(bytes);
    let payload = UserPayload {
        account: AccountId::new(seed),
        nonce: Nonce::new(u64::from(number) + 1),
        valid_until: TimeMs::new(0),
        action: Action::PlaceOrder(limit(3, Side::Buy, 5, 8_000, TimeInForce::GoodTilCancelled)),
    };
    let signature = key.sign(&payload.session_message(&CHAIN)).into();
    let key = PublicKey(VerificationKeyBytes::from(&key).into());
    let signature = UserSignature::Session { key, signature };
    Command::User(UserCommand { payload, signature })
}

/// Measures batches of several sizes.
pub fn report() {
    println!(
        "signatures: single orders by session keys, median [best] of {RUNS} in CPU us a signature"
    );
    for size in [1, 16, 64, 256u32] {
        for (name, keys) in [("different keys", u32::MAX), ("one key", 1)] {
            let batch: Vec<Command> = (0..size).map(|at| signed(at, at % keys)).collect();
            let times = (0..RUNS).map(|_| {
                let commands = batch.clone();
                let (checked, ns) = timed(|| check_batch(&CHAIN, commands));
                assert!(checked.iter().all(|command| command.signer().is_some()));
                ns as f64 / 1e3 / f64::from(size)
            });
            let (median, best) = median_and_best(times.collect());
            println!("  {size:>3} with {name}: {median:.1} [{best:.1}]");
        }
    }
}

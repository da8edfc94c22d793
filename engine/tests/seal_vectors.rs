//! `vectors/sealed_order.json`: what whoever seals orders for himself must agree on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod vectors {
    use commonware_codec::Encode as _;
    use commonware_cryptography::bls12381::primitives::{ops, variant::MinSig};
    use lifeboat_engine::auction::{
        SEAL_NAMESPACE, SealBroken, SealKey, SealSignature, SealedTerms, open, seal, seal_target,
        verify_opening,
    };
    use lifeboat_engine::types::{
        AccountId, ChainId, InstrumentId, Lots, Nonce, PriceTicks, RecoveryPolicy,
        SelfTradePrevention, Side, TimeMs,
    };
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use serde_json::{Value, json};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/sealed_order.json");
    /// Regenerates the file instead of comparing it.
    const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";

    fn hex(bytes: &[u8]) -> String {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        format!("0x{}", digits.collect::<String>())
    }

    fn unhex<const N: usize>(value: &Value) -> [u8; N] {
        let text = value.as_str().unwrap().strip_prefix("0x").unwrap();
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        (0..text.len() / 2)
            .map(byte)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap()
    }

    fn orders() -> [SealedTerms; 2] {
        let first = SealedTerms {
            account: AccountId::new(7),
            nonce: Nonce::new(1_795_348_800_000 << 10),
            instrument: InstrumentId::new(41),
            side: Side::Buy,
            price: PriceTicks::new(1_525),
            lots: Lots::new(10),
            rests: true,
            reduce_only: false,
            recovery: RecoveryPolicy::Keep,
            self_trade: SelfTradePrevention::CancelTaker,
        };
        let second = SealedTerms {
            account: AccountId::new(1 << 20),
            nonce: Nonce::new(1),
            side: Side::Sell,
            lots: Lots::new(100_000),
            rests: false,
            reduce_only: true,
            recovery: RecoveryPolicy::Cancel,
            self_trade: SelfTradePrevention::CancelBoth,
            ..first
        };
        [first, second]
    }

    fn generated() -> Value {
        let (private, public) = ops::keypair::<_, MinSig>(&mut StdRng::seed_from_u64(1));
        let key = SealKey(public.encode().as_ref().try_into().unwrap());
        let (chain, auction, began_at) = (ChainId([7; 32]), 3, TimeMs::new(1_795_348_801_000));
        let target = seal_target(&chain, auction, began_at);
        let signature = ops::sign_message::<MinSig>(&private, SEAL_NAMESPACE, &target);
        let signature = SealSignature(signature.encode().as_ref().try_into().unwrap());
        assert!(verify_opening(&key, &target, &signature));
        let sealed = (0..).zip(orders()).map(|(at, terms)| {
            let mut rng = StdRng::seed_from_u64(at);
            json!({
                "plaintext": hex(&terms.encode()),
                "account": terms.account.get(),
                "nonce": terms.nonce.get(),
                "instrument": terms.instrument.get(),
                "price_ticks": terms.price.get(),
                "lots": terms.lots.get(),
                "ciphertext": hex(&seal(&mut rng, &key, &target, &terms).unwrap()),
            })
        });
        json!({
            "chain": hex(&chain.0),
            "auction": auction,
            "began_at": began_at.get(),
            "key": hex(&key.0),
            "target": hex(&target),
            "signature": hex(&signature.0),
            "orders": sealed.collect::<Vec<_>>(),
        })
    }

    #[test]
    fn are_current() {
        let generated = generated();
        if std::env::var_os(WRITE).is_some() {
            let text = serde_json::to_string_pretty(&generated).unwrap();
            std::fs::write(FILE, text + "\n").unwrap();
        }
        let stored: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
        assert!(
            stored == generated,
            "vectors/sealed_order.json is not what the code gives; if that is meant, run \
             `cargo xtask vectors` and say so in the changelog"
        );
    }

    #[test]
    fn open_to_the_orders_and_to_nothing_when_a_bit_is_flipped() {
        let stored = generated();
        let signature = SealSignature(unhex(&stored["signature"]));
        for (at, terms) in orders().iter().enumerate() {
            let ciphertext = unhex(&stored["orders"][at]["ciphertext"]);
            assert_eq!(open(&signature, &ciphertext), Ok(*terms));
            for byte in [0, 50, 100, 130, 159] {
                let mut flipped = ciphertext;
                flipped[byte] ^= 1;
                assert_eq!(open(&signature, &flipped), Err(SealBroken), "{byte}");
            }
        }
    }
}

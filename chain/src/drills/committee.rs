//! A group key in one hand, which signs headers as the validators' shares do together.

use blst::min_sig::SecretKey;

use super::VENUE;

const DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// The key.
pub struct GroupKey(SecretKey);

impl GroupKey {
    /// The key of a seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        // A seed of 32 bytes is always long enough.
        Self(SecretKey::key_gen(&seed, &[]).unwrap_or_default())
    }

    /// A compressed point of G2.
    pub fn public(&self) -> [u8; 96] {
        self.0.sk_to_pk().compress()
    }

    /// The finalization certificate of a block: a compressed point of G1.
    pub fn certify(&self, epoch: u64, view: u64, parent_view: u64, digest: &[u8; 32]) -> [u8; 48] {
        let namespace = [b"LIFEBOAT_1_", &VENUE.0[..], b"_FINALIZE"].concat();
        let mut message = leb128(namespace.len() as u64);
        message.extend(namespace);
        for field in [epoch, view, parent_view] {
            message.extend(leb128(field));
        }
        message.extend(digest);
        self.0.sign(&message, DST, &[]).compress()
    }
}

fn leb128(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

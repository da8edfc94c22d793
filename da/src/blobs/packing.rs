//! Bytes in blobs: 31 to a field element, so that every element is below the field's modulus
//! whatever the bytes are, and the check that a blob is the one a transaction names.

use alloy_eips::eip4844::c_kzg::{self, KzgSettings};
use alloy_eips::eip4844::kzg_to_versioned_hash;

use crate::layer::LayerError;

/// Field elements in a blob.
const ELEMENTS: usize = 4096;
/// Bytes of an element.
const ELEMENT_BYTES: usize = 32;
/// Bytes of ours in an element: all but the first, which stays zero.
const ELEMENT_PLAIN_BYTES: usize = ELEMENT_BYTES - 1;
/// Bytes of a blob.
pub(super) const BLOB_BYTES: usize = ELEMENTS * ELEMENT_BYTES;
/// Bytes of ours that fit a blob.
pub(super) const BLOB_PLAIN_BYTES: usize = ELEMENTS * ELEMENT_PLAIN_BYTES;

/// `bytes` as blobs, the last filled up with zeros.
pub(super) fn pack(bytes: &[u8]) -> Vec<Vec<u8>> {
    let blob = |plain: &[u8]| {
        let mut blob = vec![0; BLOB_BYTES];
        let elements = blob.chunks_exact_mut(ELEMENT_BYTES);
        for (element, plain) in elements.zip(plain.chunks(ELEMENT_PLAIN_BYTES)) {
            element[1..=plain.len()].copy_from_slice(plain);
        }
        blob
    };
    bytes.chunks(BLOB_PLAIN_BYTES).map(blob).collect()
}

/// A blob's bytes, with the zeros that may follow them.
pub(super) fn unpack(blob: &[u8]) -> Result<Vec<u8>, LayerError> {
    let wrong = |what: &str| Err(LayerError::Corrupt(format!("a blob {what}")));
    if blob.len() != BLOB_BYTES {
        return wrong("of another length");
    }
    let mut plain = Vec::with_capacity(BLOB_PLAIN_BYTES);
    for element in blob.chunks_exact(ELEMENT_BYTES) {
        if element[0] != 0 {
            return wrong("that was not packed here");
        }
        plain.extend_from_slice(&element[1..]);
    }
    Ok(plain)
}

/// Whether `blob` is the one whose commitment hashes to `hash`: the commitment is made anew, which
/// says more than a proof that came with it.
pub(super) fn verify(
    settings: &KzgSettings,
    blob: &[u8],
    hash: &[u8; 32],
) -> Result<(), LayerError> {
    let wrong = |what: String| LayerError::Corrupt(format!("a blob {what}"));
    let blob = c_kzg::Blob::from_bytes(blob).map_err(|error| wrong(format!("is none: {error}")))?;
    let commitment = settings.blob_to_kzg_commitment(&blob);
    let commitment = commitment.map_err(|error| wrong(format!("has no commitment: {error}")))?;
    let found = kzg_to_versioned_hash(commitment.to_bytes().as_ref());
    if found.0 != *hash {
        return Err(wrong(format!(
            "hashes to {found}, but its transaction names {}",
            super::hex(hash)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BLOB_BYTES, BLOB_PLAIN_BYTES, pack, unpack, verify};
    use alloy_eips::eip4844::c_kzg;
    use alloy_eips::eip4844::env_settings::EnvKzgSettings;
    use alloy_eips::eip4844::kzg_to_versioned_hash;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn bytes_come_back_and_every_element_is_in_the_field(
            len in 1..3 * BLOB_PLAIN_BYTES, fill in any::<u8>(),
        ) {
            let bytes = vec![fill; len];
            let blobs = pack(&bytes);
            prop_assert_eq!(blobs.len(), len.div_ceil(BLOB_PLAIN_BYTES));
            let mut back = Vec::new();
            for blob in &blobs {
                prop_assert!(blob.chunks(32).all(|element| element[0] == 0));
                back.extend(unpack(blob).unwrap());
            }
            prop_assert_eq!(&back[..len], &bytes[..]);
            prop_assert!(back[len..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn another_blob_is_not_taken() {
        let settings = EnvKzgSettings::Default.get();
        let blob = pack(&[0xff; 1000]).remove(0);
        let known = c_kzg::Blob::from_bytes(&blob).unwrap();
        let commitment = settings.blob_to_kzg_commitment(&known).unwrap();
        let hash = kzg_to_versioned_hash(commitment.to_bytes().as_ref()).0;
        verify(settings, &blob, &hash).unwrap();
        let mut other = blob.clone();
        other[BLOB_BYTES - 1] ^= 1;
        let error = verify(settings, &other, &hash).unwrap_err();
        assert!(
            error.to_string().contains("its transaction names"),
            "{error}"
        );
        // An element that is not below the modulus has no commitment at all.
        other[0] = 0xff;
        assert!(verify(settings, &other, &hash).is_err());
        assert!(unpack(&other).is_err());
        assert!(verify(settings, &blob[1..], &hash).is_err());
        assert!(unpack(&blob[1..]).is_err());
    }
}

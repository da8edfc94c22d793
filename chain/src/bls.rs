//! Points of BLS12-381 as the precompiles of EIP-2537 take them: uncompressed, each coordinate padded to
//! 64 bytes, Fp2 as c0 before c1. Consensus writes them compressed.

use blst::{BLST_ERROR, blst_p1_affine, blst_p1_affine_serialize, blst_p1_uncompress};
use blst::{blst_p2_affine, blst_p2_affine_serialize, blst_p2_uncompress};

/// Bytes of a compressed point of G1: a signature.
pub const SIGNATURE_BYTES: usize = 48;
/// Bytes of a compressed point of G2: a key.
pub const KEY_BYTES: usize = 96;

/// These bytes are no point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no point of the curve")]
pub struct NoPoint;

/// A signature as the contracts take it: 128 bytes.
///
/// # Errors
/// [`NoPoint`].
pub fn signature(compressed: &[u8]) -> Result<Vec<u8>, NoPoint> {
    let compressed: &[u8; SIGNATURE_BYTES] = compressed.try_into().map_err(|_| NoPoint)?;
    let (mut point, mut out) = (blst_p1_affine::default(), [0; 2 * 48]);
    // SAFETY: the input has the 48 bytes that are read, the output the 96 that are written.
    let read = unsafe {
        let read = blst_p1_uncompress(&mut point, compressed.as_ptr());
        blst_p1_affine_serialize(out.as_mut_ptr(), &point);
        read
    };
    match read {
        BLST_ERROR::BLST_SUCCESS => Ok(padded(&out, &[0, 1])),
        _ => Err(NoPoint),
    }
}

/// A group key as the contracts take it: 256 bytes.
///
/// # Errors
/// [`NoPoint`].
pub fn group_key(compressed: &[u8]) -> Result<Vec<u8>, NoPoint> {
    let compressed: &[u8; KEY_BYTES] = compressed.try_into().map_err(|_| NoPoint)?;
    let (mut point, mut out) = (blst_p2_affine::default(), [0; 4 * 48]);
    // SAFETY: the input has the 96 bytes that are read, the output the 192 that are written.
    let read = unsafe {
        let read = blst_p2_uncompress(&mut point, compressed.as_ptr());
        blst_p2_affine_serialize(out.as_mut_ptr(), &point);
        read
    };
    match read {
        // The usual serialisation has c1 before c0.
        BLST_ERROR::BLST_SUCCESS => Ok(padded(&out, &[1, 0, 3, 2])),
        _ => Err(NoPoint),
    }
}

/// Coordinates of 48 bytes in this order, each padded in front to 64.
fn padded(serialised: &[u8], order: &[usize]) -> Vec<u8> {
    let coordinates: Vec<&[u8]> = serialised.chunks(48).collect();
    order
        .iter()
        .flat_map(|place| [[0; 16].as_slice(), coordinates[*place]].concat())
        .collect()
}

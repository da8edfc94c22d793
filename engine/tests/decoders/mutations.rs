//! Ways in which bytes come out wrong on a network, or are made wrong by somebody.

/// Hands `check` every truncation, every single flipped bit, every byte left out or doubled, and a
/// length bomb at every offset: a little-endian `u32` far past what follows, in four sizes.
pub fn each(valid: &[u8], mut check: impl FnMut(&[u8])) {
    let mut bytes = valid.to_vec();
    for at in 0..valid.len() {
        check(&valid[..at]);
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            check(&bytes);
            bytes[at] = valid[at];
        }
        let (before, after) = valid.split_at(at);
        check(&[before, &after[1..]].concat());
        check(&[before, &after[..1], after].concat());
    }
    for (at, kept) in valid.windows(4).enumerate() {
        for bomb in [u32::MAX, i32::MAX as u32, 1 << 24, 1 << 16] {
            bytes[at..at + 4].copy_from_slice(&bomb.to_le_bytes());
            check(&bytes);
            bytes[at..at + 4].copy_from_slice(kept);
        }
    }
    bytes.push(0);
    check(&bytes);
}

/// What `check` says of `bytes`; it must not hold more than `most` bytes of memory at once.
#[track_caller]
pub fn bounded(bytes: &[u8], most: usize, check: fn(&[u8]) -> bool) -> bool {
    let mut said = false;
    let peak = crate::memory::peak_of(|| said = check(bytes));
    assert!(
        peak <= most,
        "{peak} bytes held for {} of input",
        bytes.len()
    );
    said
}

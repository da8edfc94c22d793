//! Keccak-f\[1600\] and its sponge over vectors of 64-bit lanes, written once for every vector width.

/// The 24 round constants (FIPS 202, section 3.2.5).
pub(super) const ROUND_CONSTANTS: [u64; 24] = round_constants();

/// The constants from their defining linear-feedback shift register, so that none can be mistyped.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "constant evaluation"
)]
const fn round_constants() -> [u64; 24] {
    let mut constants = [0_u64; 24];
    let mut register = 1_u8;
    let mut round = 0;
    while round < 24 {
        let mut j = 0;
        while j < 7 {
            constants[round] |= ((register & 1) as u64) << ((1_u32 << j) - 1);
            register = (register << 1) ^ (if register & 0x80 == 0 { 0 } else { 0x71 });
            j += 1;
        }
        round += 1;
    }
    constants
}

/// Writes the sponge for one vector unit. The caller's module provides `Vector`, `LANES`, `zero`,
/// `splat`, `load`, `store`, `xor`, `xor3` (a ⊕ b ⊕ c), `chi` (a ⊕ (¬b ∧ c)) and `rotate`.
macro_rules! sponge {
    ($feature:literal) => {
        /// One round: theta, rho and pi into five rows, chi and iota back out.
        #[inline]
        #[target_feature(enable = $feature)]
        fn round(a: [Vector; 25], constant: u64) -> [Vector; 25] {
            let [
                a0,
                a1,
                a2,
                a3,
                a4,
                a5,
                a6,
                a7,
                a8,
                a9,
                a10,
                a11,
                a12,
                a13,
                a14,
                a15,
                a16,
                a17,
                a18,
                a19,
                a20,
                a21,
                a22,
                a23,
                a24,
            ] = a;
            let c0 = xor3(xor3(a0, a5, a10), a15, a20);
            let c1 = xor3(xor3(a1, a6, a11), a16, a21);
            let c2 = xor3(xor3(a2, a7, a12), a17, a22);
            let c3 = xor3(xor3(a3, a8, a13), a18, a23);
            let c4 = xor3(xor3(a4, a9, a14), a19, a24);
            let (r0, r1, r2, r3, r4) = (
                rotate::<1>(c0),
                rotate::<1>(c1),
                rotate::<1>(c2),
                rotate::<1>(c3),
                rotate::<1>(c4),
            );
            // Column x takes the parities of columns x − 1 and x + 1, the latter rotated by one.
            let [e0, e1, e2, e3, e4] = row([
                xor3(a0, c4, r1),
                rotate::<44>(xor3(a6, c0, r2)),
                rotate::<43>(xor3(a12, c1, r3)),
                rotate::<21>(xor3(a18, c2, r4)),
                rotate::<14>(xor3(a24, c3, r0)),
            ]);
            let [e5, e6, e7, e8, e9] = row([
                rotate::<28>(xor3(a3, c2, r4)),
                rotate::<20>(xor3(a9, c3, r0)),
                rotate::<3>(xor3(a10, c4, r1)),
                rotate::<45>(xor3(a16, c0, r2)),
                rotate::<61>(xor3(a22, c1, r3)),
            ]);
            let [e10, e11, e12, e13, e14] = row([
                rotate::<1>(xor3(a1, c0, r2)),
                rotate::<6>(xor3(a7, c1, r3)),
                rotate::<25>(xor3(a13, c2, r4)),
                rotate::<8>(xor3(a19, c3, r0)),
                rotate::<18>(xor3(a20, c4, r1)),
            ]);
            let [e15, e16, e17, e18, e19] = row([
                rotate::<27>(xor3(a4, c3, r0)),
                rotate::<36>(xor3(a5, c4, r1)),
                rotate::<10>(xor3(a11, c0, r2)),
                rotate::<15>(xor3(a17, c1, r3)),
                rotate::<56>(xor3(a23, c2, r4)),
            ]);
            let [e20, e21, e22, e23, e24] = row([
                rotate::<62>(xor3(a2, c1, r3)),
                rotate::<55>(xor3(a8, c2, r4)),
                rotate::<39>(xor3(a14, c3, r0)),
                rotate::<41>(xor3(a15, c4, r1)),
                rotate::<2>(xor3(a21, c0, r2)),
            ]);
            [
                xor(e0, splat(constant)),
                e1,
                e2,
                e3,
                e4,
                e5,
                e6,
                e7,
                e8,
                e9,
                e10,
                e11,
                e12,
                e13,
                e14,
                e15,
                e16,
                e17,
                e18,
                e19,
                e20,
                e21,
                e22,
                e23,
                e24,
            ]
        }

        /// Chi of one row.
        #[inline]
        #[target_feature(enable = $feature)]
        fn row([b0, b1, b2, b3, b4]: [Vector; 5]) -> [Vector; 5] {
            [
                chi(b0, b1, b2),
                chi(b1, b2, b3),
                chi(b2, b3, b4),
                chi(b3, b4, b0),
                chi(b4, b0, b1),
            ]
        }

        #[inline]
        #[target_feature(enable = $feature)]
        fn permute(state: &mut [Vector; 25]) {
            let mut a = *state;
            for constant in $crate::commitment::lanes::permutation::ROUND_CONSTANTS {
                a = round(a, constant);
            }
            *state = a;
        }

        #[inline]
        #[target_feature(enable = $feature)]
        fn absorb(state: &mut [Vector; 25], block: &[Words; RATE_WORDS]) {
            for (word, from) in state.iter_mut().zip(block) {
                *word = xor(*word, load(from));
            }
            permute(state);
        }

        /// Every lane's digest.
        #[inline]
        #[target_feature(enable = $feature)]
        fn squeeze(state: &[Vector; 25]) -> [Digest; LANES] {
            let [w0, w1, w2, w3, ..] = state;
            let (w0, w1, w2, w3) = (store(*w0), store(*w1), store(*w2), store(*w3));
            let mut out = [Digest::default(); LANES];
            let words = w0.0.iter().zip(&w1.0).zip(w2.0.iter().zip(&w3.0));
            for (digest, ((w0, w1), (w2, w3))) in out.iter_mut().zip(words) {
                *digest = digest_of_words(&[*w0, *w1, *w2, *w3]);
            }
            out
        }

        /// Digests of the inner nodes over the groups.
        #[target_feature(enable = $feature)]
        #[allow(
            clippy::indexing_slicing,
            clippy::arithmetic_side_effects,
            reason = "constant bounds, unrolled"
        )]
        pub(super) fn nodes(groups: &[&Group; LANES]) -> [Digest; LANES] {
            let mut block = [Words([NODE_TAIL; LANES]); RATE_WORDS];
            for lane in 0..LANES {
                for child in 0..ARITY {
                    let words = groups[lane].0[child].0.as_chunks::<8>().0;
                    for word in 0..4 {
                        block[child * 4 + word].0[lane] = u64::from_le_bytes(words[word]);
                    }
                }
            }
            let mut state = [zero(); 25];
            absorb(&mut state, &block);
            squeeze(&state)
        }

        /// Digests of padded messages. A shorter message's digest is taken when its last block is
        /// in; its lane goes on with zeros that nobody looks at.
        #[target_feature(enable = $feature)]
        pub(super) fn messages(messages: &[&[[u8; RATE]]; LANES]) -> [Digest; LANES] {
            let longest = messages
                .iter()
                .map(|message| message.len())
                .max()
                .unwrap_or(0);
            let mut state = [zero(); 25];
            let mut out = [Digest::default(); LANES];
            for index in 0..longest {
                let blocks = messages.map(|message| message.get(index).unwrap_or(&[0; RATE]));
                absorb(&mut state, &transposed(&blocks));
                let ends = |message: &[[u8; RATE]]| message.len() == index.saturating_add(1);
                if messages.iter().any(|message| ends(message)) {
                    let digests = squeeze(&state);
                    for ((out, digest), message) in out.iter_mut().zip(digests).zip(messages) {
                        if ends(message) {
                            *out = digest;
                        }
                    }
                }
            }
            out
        }

        #[inline]
        #[target_feature(enable = $feature)]
        #[allow(clippy::indexing_slicing, reason = "constant bounds, unrolled")]
        fn transposed(blocks: &[&[u8; RATE]; LANES]) -> [Words; RATE_WORDS] {
            let mut out = [Words([0; LANES]); RATE_WORDS];
            for lane in 0..LANES {
                let words = blocks[lane].as_chunks::<8>().0;
                for word in 0..RATE_WORDS {
                    out[word].0[lane] = u64::from_le_bytes(words[word]);
                }
            }
            out
        }
    };
}

pub(super) use sponge;

//! `vectors/exit_certificate.json`: a header and the finalization certificate that a committee made of it,
//! as the contracts take them. It holds Solidity to what consensus really signs.

mod vectors {
    use blst::{blst_p1_affine, blst_p1_affine_serialize, blst_p1_uncompress};
    use blst::{blst_p2_affine, blst_p2_affine_serialize, blst_p2_uncompress};
    use commonware_codec::{DecodeExt as _, Encode as _};
    use commonware_consensus::simplex::types::{Finalization, Finalize, Proposal};
    use commonware_consensus::types::{Epoch, Round, View};
    use commonware_cryptography::Signer as _;
    use commonware_cryptography::bls12381::dkg::feldman_desmedt::deal;
    use commonware_cryptography::bls12381::primitives::sharing::Mode;
    use commonware_cryptography::bls12381::primitives::variant::MinSig;
    use commonware_cryptography::ed25519::PrivateKey;
    use commonware_cryptography::keccak256::Digest as BlockDigest;
    use commonware_parallel::Sequential;
    use commonware_utils::ordered::Set;
    use commonware_utils::{N3f1, non_empty};
    use lifeboat_engine::types::{ChainId, Digest, Height, TimeMs};
    use lifeboat_node::block::Header;
    use lifeboat_node::consensus::{Identity, Suspects, outward};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const FILE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../vectors/exit_certificate.json"
    );
    /// Regenerates the file instead of comparing it.
    const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";
    const VALIDATORS: u8 = 4;

    fn hex(bytes: &[u8]) -> String {
        format!("0x{}", lifeboat_node::keys::to_hex(bytes))
    }

    /// Coordinates of 48 bytes, each padded to 64 as EIP-2537 wants them, in this order.
    fn padded(serialised: &[u8], order: &[usize]) -> Vec<u8> {
        let coordinates: Vec<&[u8]> = serialised.chunks(48).collect();
        order
            .iter()
            .flat_map(|place| [[0; 16].as_slice(), coordinates[*place]].concat())
            .collect()
    }

    fn g1(compressed: &[u8]) -> Vec<u8> {
        let mut point = blst_p1_affine::default();
        let mut out = [0; 96];
        assert_eq!(compressed.len(), 48);
        // SAFETY: the input has the 48 bytes that are read, the output the 96 that are written.
        unsafe {
            blst_p1_uncompress(&mut point, compressed.as_ptr());
            blst_p1_affine_serialize(out.as_mut_ptr(), &point);
        }
        padded(&out, &[0, 1])
    }

    /// The usual serialisation has c1 before c0; EIP-2537 has c0 first.
    fn g2(compressed: &[u8]) -> Vec<u8> {
        let mut point = blst_p2_affine::default();
        let mut out = [0; 192];
        assert_eq!(compressed.len(), 96);
        // SAFETY: the input has the 96 bytes that are read, the output the 192 that are written.
        unsafe {
            blst_p2_uncompress(&mut point, compressed.as_ptr());
            blst_p2_affine_serialize(out.as_mut_ptr(), &point);
        }
        padded(&out, &[1, 0, 3, 2])
    }

    fn header(leader: &PrivateKey) -> Header {
        Header {
            chain: ChainId([7; 32]),
            height: Height::new(1_000_000),
            time: TimeMs::new(1_800_000_000_000),
            parent: Digest([1; 32]),
            epoch: 300,
            view: 1_048_577,
            leader: leader.public_key(),
            parent_view: 127,
            executed: Height::new(999_990),
            state_root: Digest([2; 32]),
            exit_root: Digest([3; 32]),
            commands_root: Digest([4; 32]),
            commands_len: 5,
            engine_version: 1,
        }
    }

    fn generated() -> String {
        let keys: Vec<PrivateKey> = (0..VALIDATORS)
            .map(|seed| PrivateKey::decode(vec![seed + 1; 32]).expect("any 32 bytes are a key"))
            .collect();
        let committee = Set::from_iter_dedup(keys.iter().map(|key| key.public_key()));
        let mut rng = StdRng::from_seed([9; 32]);
        let (output, shares) =
            deal::<MinSig, _, N3f1>(&mut rng, Mode::NonZeroCounter, committee.clone())
                .expect("four can agree");
        let header = header(&keys[0]);
        let proposal = Proposal::new(
            Round::new(Epoch::new(header.epoch), View::new(header.view)),
            View::new(header.parent_view),
            BlockDigest(header.digest().0),
        );
        let identities: Vec<Identity> = keys
            .iter()
            .map(|key| Identity {
                peer: key.public_key(),
                key: key.clone(),
                committee: committee.clone(),
                polynomial: output.public().clone(),
                share: shares
                    .get_value(&key.public_key())
                    .expect("it was dealt one")
                    .clone(),
                suspects: Suspects::default(),
            })
            .collect();
        let schemes: Vec<_> = identities
            .iter()
            .map(|identity| identity.signer(&header.chain).expect("its own share"))
            .collect();
        let votes: Vec<_> = schemes
            .iter()
            .take(3)
            .map(|scheme| Finalize::sign(scheme, proposal.clone()).expect("a signer"))
            .collect();
        let certificate =
            Finalization::from_finalizes(&schemes[3], non_empty![@votes.iter()], &Sequential)
                .expect("a quorum voted");
        let certificate = outward(&header, certificate.encode(), &schemes[0]);
        let certificate = certificate.expect("good shares");
        let signature = certificate.last_chunk::<48>().expect("a point");
        let fields = [
            ("venue", hex(&header.chain.0)),
            ("header", hex(&header.encode())),
            ("digest", hex(&header.digest().0)),
            ("epoch", header.epoch.to_string()),
            ("view", header.view.to_string()),
            ("parent_view", header.parent_view.to_string()),
            ("group_key", hex(&g2(&output.public().public().encode()))),
            ("signature", hex(&g1(signature))),
        ];
        let lines = fields.map(|(name, value)| format!("  \"{name}\": \"{value}\""));
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    #[test]
    fn are_current() {
        let generated = generated();
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(FILE, &generated).expect("the folder is there");
        }
        let stored = std::fs::read_to_string(FILE).expect("the file is there");
        assert!(
            stored == generated,
            "vectors/exit_certificate.json is not what the code gives; if that is meant, run \
             `cargo xtask vectors` and say so in the changelog"
        );
    }
}

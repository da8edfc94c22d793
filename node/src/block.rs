//! A consensus block: a fixed header that a certificate covers, and the commands it commits to.
//!
//! **Owns** the header's layout (what a light client or a contract hashes), the block's encoding and
//! its bounds. **Never** looks at state: whether a header's claims are true is `application`'s to
//! decide. Every accepted encoding is the only one: `encode(decode(bytes)) == bytes`, and the digest
//! commits to every byte through the header's commands root.

use std::sync::Arc;

use borsh::BorshDeserialize;
use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use commonware_codec::{
    Buf, EncodeSize, Error as CodecError, FixedSize, Read, ReadExt as _, Write,
};
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::{Epoch, Height as BlockHeight, Round, View};
use commonware_consensus::{Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable};
use commonware_cryptography::ed25519::PublicKey as PeerKey;
use commonware_cryptography::keccak256::Digest as BlockDigest;
use commonware_cryptography::{Digest as _, Digestible, Hasher as _, Keccak256, Signer as _};
use lifeboat_engine::limits::{BLOCK_BYTES_MAX, COMMAND_BYTES_MAX, COMMANDS_PER_BLOCK_MAX};
use lifeboat_engine::types::{ChainId, Digest, Height, TimeMs};
use lifeboat_engine::{AgreedRoot, Block as EngineBlock, CheckedCommand, Command};

/// Bytes of an encoded header.
pub const HEADER_BYTES: usize = 32 + 8 + 8 + 32 + 8 + 8 + 32 + 8 + 8 + 32 + 32 + 32 + 4 + 4;

/// Version of the rules a block is executed by. A node refuses blocks of another version, so a stale
/// binary cannot vote for, or execute, what it does not understand.
pub const ENGINE_VERSION: u32 = 4;

/// keccak256 over the concatenation of `parts`.
pub fn keccak256(parts: &[&[u8]]) -> Digest {
    Digest(Keccak256::hash(parts).0)
}

/// What a finalization certificate signs, by its keccak256. Integers are big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which venue.
    pub chain: ChainId,
    /// One more than the parent's.
    pub height: Height,
    /// Agreed time; never before the parent's.
    pub time: TimeMs,
    /// The parent's digest; zero for genesis.
    pub parent: Digest,
    /// Consensus epoch.
    pub epoch: u64,
    /// Consensus view in which it was proposed.
    pub view: u64,
    /// The proposer's network identity.
    pub leader: PeerKey,
    /// The view that the parent was proposed in.
    pub parent_view: u64,
    /// The last finalized height that the proposer had executed.
    pub executed: Height,
    /// The state root after `executed`.
    pub state_root: Digest,
    /// The root of the exits that go with `executed`: of the last height they were worked out at, a
    /// fixed number of blocks before. Zero while there are none.
    pub exit_root: Digest,
    /// keccak256 of the encoded commands.
    pub commands_root: Digest,
    /// Bytes of the encoded commands.
    pub commands_len: u32,
    /// The rules' version.
    pub engine_version: u32,
}

impl Header {
    /// The header's fixed layout.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0u8; HEADER_BYTES];
        let mut rest = &mut out[..];
        rest.put_slice(&self.chain.0);
        rest.put_u64(self.height.get());
        rest.put_u64(self.time.get());
        rest.put_slice(&self.parent.0);
        rest.put_u64(self.epoch);
        rest.put_u64(self.view);
        rest.put_slice(self.leader.as_ref());
        rest.put_u64(self.parent_view);
        rest.put_u64(self.executed.get());
        rest.put_slice(&self.state_root.0);
        rest.put_slice(&self.exit_root.0);
        rest.put_slice(&self.commands_root.0);
        rest.put_u32(self.commands_len);
        rest.put_u32(self.engine_version);
        debug_assert!(rest.is_empty());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When bytes are missing or the leader is not a valid key.
    pub fn decode(buf: &mut impl Buf) -> Result<Self, CodecError> {
        if buf.remaining() < HEADER_BYTES {
            return Err(CodecError::EndOfBuffer);
        }
        Ok(Self {
            chain: ChainId(<[u8; 32]>::read(buf)?),
            height: Height::new(buf.get_u64()),
            time: TimeMs::new(buf.get_u64()),
            parent: Digest(<[u8; 32]>::read(buf)?),
            epoch: buf.get_u64(),
            view: buf.get_u64(),
            leader: PeerKey::read(buf)?,
            parent_view: buf.get_u64(),
            executed: Height::new(buf.get_u64()),
            state_root: Digest(<[u8; 32]>::read(buf)?),
            exit_root: Digest(<[u8; 32]>::read(buf)?),
            commands_root: Digest(<[u8; 32]>::read(buf)?),
            commands_len: buf.get_u32(),
            engine_version: buf.get_u32(),
        })
    }

    /// Reads a header that is all there is in `bytes`.
    pub fn decode_all(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes::copy_from_slice(bytes);
        let header = Self::decode(&mut bytes).ok()?;
        bytes.is_empty().then_some(header)
    }

    /// The block's digest.
    pub fn digest(&self) -> Digest {
        keccak256(&[&self.encode()])
    }

    /// The executed state that the header speaks of, which its certificate covers.
    pub const fn agreed(&self) -> AgreedRoot {
        AgreedRoot {
            height: self.executed,
            root: self.state_root,
        }
    }
}

/// A block's commands with their canonical bytes and digests.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    commands: Vec<Command>,
    keys: Vec<Digest>,
}

/// Why bytes are not a block's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes or commands than a block may have.
    #[error("the commands are over a block's bounds")]
    TooLarge,
    /// Not the canonical encoding of commands.
    #[error("the bytes are not commands in their canonical encoding")]
    Malformed,
}

impl Body {
    /// A body from commands already encoded one by one; the caller vouches for each pair.
    pub fn from_encoded(parts: Vec<(Digest, Bytes, Command)>) -> Self {
        let size: usize = parts.iter().map(|(_, bytes, _)| bytes.len()).sum();
        let mut bytes = Vec::with_capacity(4 + size);
        bytes.put_u32_le(parts.len() as u32);
        let mut commands = Vec::with_capacity(parts.len());
        let mut keys = Vec::with_capacity(parts.len());
        for (key, encoded, command) in parts {
            bytes.extend_from_slice(&encoded);
            commands.push(command);
            keys.push(key);
        }
        Self {
            bytes: bytes.into(),
            commands,
            keys,
        }
    }

    /// Decodes borsh `Vec<Command>`.
    ///
    /// # Errors
    /// When the bytes are over a block's bounds or not the canonical encoding.
    pub fn decode(bytes: Bytes) -> Result<Self, BodyError> {
        let mut commands = Vec::new();
        let mut keys = Vec::new();
        for_each_command(&bytes, |encoded, command| {
            keys.push(keccak256(&[encoded]));
            commands.push(command);
        })?;
        Ok(Self {
            bytes,
            commands,
            keys,
        })
    }

    /// The commands in order.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// keccak256 of each command's encoding, in order: a command's key everywhere in the node.
    pub fn keys(&self) -> &[Digest] {
        &self.keys
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Decodes borsh `Vec<Command>` and hands over each command with its encoding.
///
/// # Errors
/// When the bytes are over a block's bounds or not the canonical encoding.
pub fn for_each_command(
    bytes: &[u8],
    mut each: impl FnMut(&[u8], Command),
) -> Result<(), BodyError> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(BodyError::TooLarge);
    }
    let mut rest = bytes;
    let count = u32::deserialize(&mut rest).map_err(|_| BodyError::Malformed)? as usize;
    if count > COMMANDS_PER_BLOCK_MAX {
        return Err(BodyError::TooLarge);
    }
    for _ in 0..count {
        let start = rest;
        let command = Command::deserialize(&mut rest).map_err(|_| BodyError::Malformed)?;
        let encoded = &start[..start.len() - rest.len()];
        if encoded.len() > COMMAND_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        each(encoded, command);
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(BodyError::Malformed)
    }
}

/// A block. Cloning shares the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    header: Header,
    body: Arc<Body>,
}

/// What consensus says about a proposal.
pub type ProposalContext = Context<BlockDigest, PeerKey>;

impl Block {
    /// Builds a block on `context`; `claim` is what the proposer knows of executed state.
    pub fn propose(context: &ProposalContext, claim: Claim, body: Body) -> Self {
        let header = Header {
            chain: claim.chain,
            height: claim.height,
            time: claim.time,
            parent: Digest(context.parent.1.0),
            epoch: context.round.epoch().get(),
            view: context.round.view().get(),
            leader: context.leader.clone(),
            parent_view: context.parent.0.get(),
            executed: claim.executed,
            state_root: claim.state_root,
            exit_root: claim.exit_root,
            commands_root: keccak256(&[&body.bytes]),
            commands_len: body.bytes.len() as u32,
            engine_version: crate::sabotage::engine_version(),
        };
        Self {
            header,
            body: Arc::new(body),
        }
    }

    /// The block at height 0. Nobody signs it: everybody derives it from the genesis file.
    pub fn genesis(chain: ChainId, time: TimeMs, state_root: Digest) -> Self {
        let leader = commonware_cryptography::ed25519::PrivateKey::from_seed(0).public_key();
        let context = Context {
            round: Round::new(Epoch::zero(), View::zero()),
            leader,
            parent: (View::zero(), BlockDigest::EMPTY),
        };
        let claim = Claim {
            chain,
            height: Height::new(0),
            time,
            executed: Height::new(0),
            state_root,
            exit_root: Digest::default(),
        };
        Self::propose(&context, claim, Body::from_encoded(Vec::new()))
    }

    /// Puts a header and its commands together again.
    ///
    /// # Errors
    /// When the bytes are not the commands that the header commits to.
    pub fn from_parts(header: Header, bytes: Bytes) -> Result<Self, BodyError> {
        let body = Body::decode(bytes)?;
        let matches = body.bytes.len() == header.commands_len as usize
            && keccak256(&[&body.bytes]) == header.commands_root;
        if !matches {
            return Err(BodyError::Malformed);
        }
        Ok(Self {
            header,
            body: Arc::new(body),
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The commands.
    pub fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// The block as the engine takes it, with its commands' signatures checked.
    pub const fn for_engine(&self, commands: Vec<CheckedCommand>) -> EngineBlock {
        EngineBlock {
            height: self.header.height,
            time: self.header.time,
            agreed: Some(self.header.agreed()),
            commands,
        }
    }

    /// Header and commands as they are sent, stored and published.
    pub fn encoded(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encode_size());
        self.write(&mut out);
        out.freeze()
    }
}

/// The parts of a header that the proposer chooses.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Which venue.
    pub chain: ChainId,
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: TimeMs,
    /// The last height the proposer executed.
    pub executed: Height,
    /// The root after it.
    pub state_root: Digest,
    /// The root of the exits that go with it.
    pub exit_root: Digest,
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.header.encode());
        buf.put_slice(&self.body.bytes);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        HEADER_BYTES + self.body.bytes.len()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, _: &()) -> Result<Self, CodecError> {
        let header = Header::decode(buf)?;
        let len = header.commands_len as usize;
        if len > BLOCK_BYTES_MAX {
            return Err(CodecError::InvalidLength(len));
        }
        let bytes: Bytes = buf
            .try_take_owned(len)
            .map_err(|_| CodecError::EndOfBuffer)?;
        Self::from_parts(header, bytes)
            .map_err(|_| CodecError::Invalid("block", "commands do not match the header"))
    }
}

impl Digestible for Block {
    type Digest = BlockDigest;

    fn digest(&self) -> BlockDigest {
        BlockDigest(self.header.digest().0)
    }
}

impl Heightable for Block {
    fn height(&self) -> BlockHeight {
        BlockHeight::new(self.header.height.get())
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> BlockDigest {
        BlockDigest(self.header.parent.0)
    }
}

impl CertifiableBlock for Block {
    type Context = ProposalContext;

    fn context(&self) -> ProposalContext {
        Context {
            round: Round::new(Epoch::new(self.header.epoch), View::new(self.header.view)),
            leader: self.header.leader.clone(),
            parent: (
                View::new(self.header.parent_view),
                BlockDigest(self.header.parent.0),
            ),
        }
    }
}

impl BoundedBlock for Block {
    fn max_encode_size(_: &()) -> usize {
        HEADER_BYTES + BLOCK_BYTES_MAX
    }
}

const _: () = assert!(HEADER_BYTES == 248 && <PeerKey as FixedSize>::SIZE == 32);

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {InsurancePool} from "./InsurancePool.sol";
import {IInsurancePool} from "./interfaces/IInsurancePool.sol";
import {ILifeboatVault} from "./interfaces/ILifeboatVault.sol";
import {IValidatorKey} from "./interfaces/IValidatorKey.sol";
import {Formats} from "./libraries/Formats.sol";
import {Marks} from "./libraries/Marks.sol";
import {Feed, PriceReader} from "./libraries/PriceReader.sol";

/// @title What a vault keeps, and the checks that both halves of its life share
abstract contract VaultBase is ILifeboatVault, AccessControl, Pausable, ReentrancyGuardTransient, EIP712 {
    /// @notice May stop and allow deposits, and nothing else.
    bytes32 public constant GUARDIAN = keccak256("GUARDIAN");

    /// @notice Without a checkpoint for so long the venue is in an outage and critical accounts can be
    /// crystallised. Sixty missed checkpoints: no congestion of the chain explains it.
    uint256 public constant OUTAGE_DELAY = 1 hours;
    /// @notice Without a checkpoint for so long anyone may freeze. Long enough to rebuild a venue from its data
    /// on bare machines with people asleep; short enough that positions are still worth what they were.
    uint256 public constant FREEZE_DELAY = 24 hours;
    /// @notice A request on chain unanswered for so long lets anyone freeze. The venue answers in a minute;
    /// the rest is for a stalled chain.
    uint256 public constant FORCED_DELAY = 24 hours;
    /// @notice How long a frozen vault waits for a feed before the certified mark stands in. Feeds have come
    /// back within hours of a chain's; the mark is older, so not at once.
    uint256 public constant FEED_GRACE = 3 days;
    /// @notice How long exits are noted when not everybody can be paid in full. A week: weekends and holidays
    /// end, and everybody who is told can come.
    uint256 public constant CLAIM_WINDOW = 7 days;
    /// @notice How long after it late exits come before the insurance pool.
    uint256 public constant RESIDUE_DELAY = 90 days;
    /// @notice Part of the vault that may leave in an hour, in percent.
    uint256 public constant OUTFLOW_PERCENT = 10;
    /// @notice Withdrawals roots that are kept, so that a proof stays good: 17 hours at one a minute.
    uint256 public constant ROOTS_KEPT = 1024;

    /// @dev The insurance fund's account.
    uint256 internal constant FUND_INDEX = 0;

    /// @notice The collateral.
    IERC20 public immutable TOKEN;
    /// @notice Whose certificates count.
    IValidatorKey public immutable VALIDATORS;
    /// @notice Which venue.
    bytes32 public immutable VENUE;
    /// @notice What may always leave in an hour, however small the vault.
    uint64 public immutable OUTFLOW_FLOOR;
    /// @notice The insurance pool, and owner of the fund's account.
    IInsurancePool public immutable POOL;

    /// @notice The last checkpoint.
    struct Head {
        uint64 height;
        uint64 executed;
        uint56 epoch;
        uint40 acceptedAt;
        uint24 number;
        Stage stage;
    }

    /// @notice What came in and went out while live; until when, in nanoseconds, the outflow limiter is busy;
    /// how many deposits there were; and whether the vault is past `Live`, so that deposits and withdrawals
    /// need not read the head.
    struct Flow {
        uint64 deposited;
        uint64 withdrawn;
        uint64 busyUntil;
        uint56 deposits;
        bool ended;
    }

    struct Request {
        address owner;
        uint64 since;
    }

    struct Crystal {
        uint24 checkpoint;
        uint64 paid;
    }

    struct Crystals {
        uint64 count;
        uint64 held;
    }

    /// @notice What a frozen vault owes before exits.
    struct Frozen {
        uint32 since;
        uint32 claimsEnd;
        uint64 depositCursor;
        uint64 refundsOwed;
        uint64 withdrawalsOwed;
    }

    struct Exits {
        uint32 leaves;
        uint32 left;
        uint64 fundReserve;
        uint128 claimed;
    }

    struct Shares {
        uint128 available;
        uint128 leftover;
    }

    struct Claim {
        address recipient;
        uint96 value;
    }

    /// @notice See `Head`.
    Head public head;
    /// @notice See `Flow`.
    Flow public flow;
    /// @notice The hash over all deposits up to and with this one.
    mapping(uint256 number => bytes32) public depositHashes;
    /// @notice Requests for forced withdrawal.
    mapping(uint256 number => Request) public requests;
    /// @notice How many there are.
    uint64 public requestCount;
    /// @notice Crystallisations: how many, and what the vault holds for them.
    Crystals public crystals;
    /// @notice What the pool bought under a checkpoint and for how much.
    mapping(uint256 index => Crystal) public crystalOf;
    /// @notice What is held for crystallisations under a checkpoint.
    mapping(uint256 checkpoint => uint64) public crystalHeld;
    /// @notice See `Frozen`.
    Frozen public frozen;
    /// @notice Root of the exit leaves of the last checkpoint, once frozen.
    bytes32 public accountsRoot;
    /// @notice See `Exits`.
    Exits public exits;
    /// @notice See `Shares`.
    Shares public shares;
    /// @notice Noted exits.
    mapping(uint256 index => Claim) public claims;

    /// @dev Two bits a withdrawal: paid, queued.
    Marks.Map internal _withdrawals;
    mapping(uint256 number => uint256) internal _payableFrom;
    Marks.Map internal _exited;
    /// @dev Points by underlying, two a word.
    uint256[8] internal _points;
    Feed[] private _feeds;
    /// @notice Hashes over withdrawals root and summary's digest, by checkpoint number modulo `ROOTS_KEPT`. One
    /// word holds both: a checkpoint writes it and the head, and nothing else.
    bytes32[ROOTS_KEPT] public commitments;

    /// @param token The collateral, of six decimals.
    /// @param validators Whose certificates count, and of which venue.
    /// @param feeds By underlying id.
    /// @param outflowFloor What may always leave in an hour.
    /// @param admin Names guardians.
    constructor(
        IERC20 token,
        IValidatorKey validators,
        Feed[] memory feeds,
        uint64 outflowFloor,
        address admin
    ) {
        require(outflowFloor > 0, AmountOutOfRange());
        TOKEN = token;
        VALIDATORS = validators;
        VENUE = validators.VENUE();
        OUTFLOW_FLOOR = outflowFloor;
        POOL = new InsurancePool(token, this);
        for (uint256 id; id < feeds.length; ++id) {
            require(PriceReader.isSane(feeds[id]), BadFeed());
            _feeds.push(feeds[id]);
        }
        head.acceptedAt = uint40(block.timestamp);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(GUARDIAN, admin);
    }

    /// @inheritdoc ILifeboatVault
    function stage() public view returns (Stage) {
        return head.stage;
    }

    /// @inheritdoc ILifeboatVault
    function isOutage() external view returns (bool) {
        return stage() != Stage.Live || block.timestamp >= head.acceptedAt + OUTAGE_DELAY;
    }

    /// @inheritdoc ILifeboatVault
    function isPoolReleased() external view returns (bool) {
        Head memory last = head;
        // Without a checkpoint nobody but depositors is owed anything.
        bool neverBound = last.stage == Stage.Frozen && last.number == 0;
        return neverBound || last.stage == Stage.Open || last.stage == Stage.Shared;
    }

    /// @notice How many feeds there are.
    function feedCount() external view returns (uint256) {
        return _feeds.length;
    }

    /// @notice The feed of an underlying.
    function feedOf(uint256 id) external view returns (Feed memory) {
        return _feeds[id];
    }

    function _requireStage(Stage wanted) internal view {
        Stage now_ = stage();
        require(now_ == wanted, WrongStage(now_));
    }

    function _requireTime(uint256 from) internal view {
        require(block.timestamp >= from, TooEarly(from));
    }

    /// @dev Refuses what is not the last accepted summary; the caller reads it with `Formats`.
    function _requireLast(bytes calldata summary) internal view {
        bytes32 kept = Formats.commitment(Formats.withdrawalsRoot(summary), Formats.summaryDigest(summary));
        require(kept == commitments[head.number % ROOTS_KEPT], NotTheCheckpoint());
        Formats.requireSummary(summary);
    }

    // The compiler writes a struct's fields one by one; these write its word. What they write, the getters of
    // the same structs read: the tests hold both to one layout.

    function _storeHead(Head memory last) internal {
        uint256 word = uint256(last.height) | uint256(last.executed) << 64 | uint256(last.epoch) << 128
            | uint256(last.acceptedAt) << 184 | uint256(last.number) << 224 | uint256(last.stage) << 248;
        assembly ("memory-safe") {
            sstore(head.slot, word)
        }
    }

    function _storeFlow(Flow memory current) internal {
        uint256 word = uint256(current.deposited) | uint256(current.withdrawn) << 64
            | uint256(current.busyUntil) << 128 | uint256(current.deposits) << 192;
        if (current.ended) word |= 1 << 248;
        assembly ("memory-safe") {
            sstore(flow.slot, word)
        }
    }

    /// @dev A usable price from the feed of an underlying, or `usable` is false.
    function _price(uint256 id) internal view returns (bool usable, uint256 price) {
        if (id >= _feeds.length) return (false, 0);
        return PriceReader.read(_feeds[id]);
    }
}

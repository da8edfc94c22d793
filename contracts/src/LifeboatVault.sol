// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {VaultBase} from "./VaultBase.sol";
import {VaultLive} from "./VaultLive.sol";
import {ILifeboatVault} from "./interfaces/ILifeboatVault.sol";
import {IValidatorKey} from "./interfaces/IValidatorKey.sol";
import {ExitLadder} from "./libraries/ExitLadder.sol";
import {Formats, Underlying} from "./libraries/Formats.sol";
import {Marks} from "./libraries/Marks.sol";
import {Feed} from "./libraries/PriceReader.sol";
import {QuadTree} from "./libraries/QuadTree.sol";

/// @title The vault: what it does while the venue lives, and how everyone leaves when it does not
/// @dev What it must keep true: I1, I6 and I9 of docs/INVARIANTS.md. It has no owner and no upgrade: the only
/// role is a guardian that can stop deposits.
contract LifeboatVault is VaultLive {
    using Marks for Marks.Map;
    using SafeERC20 for IERC20;

    bytes32 private constant EXIT_TYPEHASH = keccak256("Exit(uint32 index,address recipient)");

    constructor(
        IERC20 token,
        IValidatorKey validators,
        Feed[] memory feeds,
        uint64 outflowFloor,
        address admin
    ) VaultBase(token, validators, feeds, outflowFloor, admin) EIP712("Lifeboat vault", "1") {}

    /// @inheritdoc ILifeboatVault
    function freeze(bytes calldata summary) external {
        _requireStage(Stage.Live);
        _requireTime(head.acceptedAt + FREEZE_DELAY);
        _freeze(summary, false);
    }

    /// @inheritdoc ILifeboatVault
    function freezeIgnored(bytes calldata summary, uint64 number) external {
        _requireStage(Stage.Live);
        uint64 since = requests[number].since;
        require(since != 0, NotIgnored());
        _requireTime(since + FORCED_DELAY);
        uint64 answered = 0;
        if (head.number != 0) {
            _requireLast(summary);
            answered = Formats.forcedCursor(summary);
        }
        require(number >= answered, NotIgnored());
        _freeze(summary, true);
    }

    /// @inheritdoc ILifeboatVault
    function fixPrices(bytes calldata summary) external {
        _requireStage(Stage.Frozen);
        _requireLast(summary);
        bool safe = true;
        uint256[] memory prices = new uint256[](Formats.underlyings(summary));
        for (uint256 id; id < prices.length; ++id) {
            Underlying memory underlying = Formats.readUnderlying(summary, id);
            uint256 price = _fixedPrice(id, underlying.step);
            prices[id] = price;
            safe = safe && int256(price) >= underlying.safeLow && int256(price) <= underlying.safeHigh;
            _points[id / 2] |= uint256(ExitLadder.point(underlying.step, price)) << (128 * (id % 2));
        }
        bool covered = int256(_free()) >= Formats.accountsCash(summary);
        Stage next = safe && covered ? Stage.Open : Stage.Claims;
        head.stage = next;
        if (next == Stage.Claims) frozen.claimsEnd = uint32(block.timestamp + CLAIM_WINDOW);
        emit PricesFixed(next, prices);
    }

    /// @inheritdoc ILifeboatVault
    function refund(uint64 number, address owner, uint64 amount, bytes32 previous) external nonReentrant {
        require(stage() != Stage.Live, WrongStage(Stage.Live));
        require(number >= frozen.depositCursor, AlreadyClaimed());
        bytes32 hash = Formats.depositHash(previous, number, owner, amount);
        require(depositHashes[number] == hash, NotIncluded());
        delete depositHashes[number];
        frozen.refundsOwed -= amount;
        TOKEN.safeTransfer(owner, amount);
        emit DepositRefunded(number, owner, amount);
    }

    /// @inheritdoc ILifeboatVault
    function exit(
        bytes calldata leaf,
        QuadTree.Path calldata path,
        address recipient,
        bytes calldata signature
    ) external nonReentrant {
        Head memory last = head;
        require(last.stage >= Stage.Open, WrongStage(last.stage));
        ExitLadder.Leaf memory fields = ExitLadder.read(leaf);
        (Marks.Word storage word, uint256 mark) = _exited.find(fields.index);
        uint256 marks = word.bits;
        require(marks & mark == 0, AlreadyClaimed());
        require(QuadTree.includes(accountsRoot, fields.index, leaf, path), NotIncluded());
        _requireOwners(fields, recipient, signature);
        word.bits = marks | mark;
        int256 value = ExitLadder.value(leaf, _fixedPoints(ExitLadder.pointsNeeded(leaf)));
        _settle(last, fields.index, recipient, value > 0 ? uint256(value) : 0, path.count);
    }

    // slither-disable-start reentrancy-no-eth,reentrancy-benign,unused-return
    /// @inheritdoc ILifeboatVault
    function closeClaims() external nonReentrant {
        _requireStage(Stage.Claims);
        _requireTime(frozen.claimsEnd);
        uint256 claimed = exits.claimed;
        uint256 available = _free();
        if (available < claimed) {
            // A pool that cannot pay must not keep the vault from paying.
            try POOL.draw(claimed - available) {} catch {}
            available = _free();
        }
        uint256 shared = Math.min(available, claimed);
        shares = Shares({available: uint128(shared), leftover: uint128(available - shared)});
        head.stage = Stage.Shared;
        emit ClaimsClosed(claimed, shared);
    }
    // slither-disable-end reentrancy-no-eth,reentrancy-benign,unused-return

    /// @inheritdoc ILifeboatVault
    function payClaim(uint32 index) external nonReentrant {
        _requireStage(Stage.Shared);
        Claim memory claim = claims[index];
        require(claim.value > 0, NothingToClaim());
        delete claims[index];
        _pay(index, claim.recipient, _share(claim.value));
    }

    /// @inheritdoc ILifeboatVault
    function sweep() external nonReentrant {
        Stage now_ = stage();
        require(now_ == Stage.Open || now_ == Stage.Shared, WrongStage(now_));
        Exits memory state = exits;
        uint256 amount;
        if (now_ == Stage.Open) {
            require(state.left > 0 && state.left == state.leaves, NothingToClaim());
            amount = _free();
        } else {
            _requireTime(frozen.claimsEnd + RESIDUE_DELAY);
            amount = shares.leftover;
            shares.leftover = 0;
        }
        require(amount > 0, NothingToClaim());
        emit Swept(amount);
        TOKEN.safeTransfer(address(POOL), amount);
    }

    function _freeze(bytes calldata summary, bool forcedIgnored) private {
        Frozen memory state = Frozen(uint32(block.timestamp), 0, 0, flow.deposited, 0);
        uint24 number = head.number;
        if (number != 0) {
            _requireLast(summary);
            // Both were checked when the checkpoint was accepted, and neither counter of the vault shrinks.
            state.depositCursor = Formats.depositCursor(summary);
            state.refundsOwed = flow.deposited - uint64(Formats.depositsTotal(summary));
            state.withdrawalsOwed = uint64(Formats.withdrawalsTotal(summary)) - flow.withdrawn;
            accountsRoot = Formats.accountsRoot(summary);
            exits.fundReserve = uint64(Formats.fundReserve(summary));
        }
        frozen = state;
        head.stage = Stage.Frozen;
        flow.ended = true;
        emit VaultFrozen(number, forcedIgnored);
    }

    /// @dev The feed's price; after the grace the certified mark stands in for a feed that has none.
    function _fixedPrice(uint256 id, uint256 step) private view returns (uint256) {
        (bool usable, uint256 price) = _price(id);
        if (usable) return price;
        require(block.timestamp >= frozen.since + FEED_GRACE, NoPrice(id));
        return step * ExitLadder.MARK_LEVEL;
    }

    function _fixedPoints(uint256 count) private view returns (uint128[] memory points) {
        points = new uint128[](count);
        for (uint256 id; id < count; id += 2) {
            uint256 word = _points[id / 2];
            points[id] = uint128(word);
            if (id + 1 < count) points[id + 1] = uint128(word >> 128);
        }
    }

    /// @dev An account that the pool bought pays its owner the price, and the pool what it is worth.
    function _settle(Head memory last, uint32 index, address recipient, uint256 value, uint64 leaves)
        private
    {
        Exits memory state = exits;
        state.leaves = uint32(leaves);
        state.left += 1;
        Crystal memory crystal = crystalOf[index];
        if (crystal.checkpoint != 0 && crystal.checkpoint == last.number) {
            crystals.held -= crystal.paid;
            _pay(index, recipient, crystal.paid);
            recipient = address(POOL);
        }
        if (index == FUND_INDEX) {
            // Outside the safe range the fund's money is what claims are topped up with.
            require(last.stage == Stage.Open, WrongStage(last.stage));
            value = value > state.fundReserve ? value - state.fundReserve : 0;
        }
        if (last.stage == Stage.Claims) {
            _note(state, index, recipient, value);
        } else if (last.stage == Stage.Shared && value > 0) {
            value = Math.min(_share(value), shares.leftover);
            require(value > 0, NothingToClaim());
            shares.leftover -= uint128(value);
        }
        _storeExits(state);
        if (last.stage != Stage.Claims) _pay(index, recipient, value);
    }

    /// @dev As `_storeHead`.
    function _storeExits(Exits memory state) private {
        uint256 word = uint256(state.leaves) | uint256(state.left) << 32 | uint256(state.fundReserve) << 64
            | uint256(state.claimed) << 128;
        assembly ("memory-safe") {
            sstore(exits.slot, word)
        }
    }

    function _note(Exits memory state, uint32 index, address recipient, uint256 value) private {
        // More than any vault holds: the share of what is there does not change.
        uint96 noted = uint96(Math.min(value, uint64(type(int64).max)));
        state.claimed += noted;
        if (noted > 0) claims[index] = Claim({recipient: recipient, value: noted});
        emit ExitClaimed(index, recipient, noted);
    }

    /// @dev The part of a claim that there is money for, rounded down.
    function _share(uint256 value) private view returns (uint256) {
        uint256 claimed = exits.claimed;
        return claimed == 0 ? value : Math.mulDiv(value, shares.available, claimed);
    }

    function _pay(uint32 index, address recipient, uint256 amount) private {
        if (amount == 0) return;
        emit Exited(index, recipient, amount);
        TOKEN.safeTransfer(recipient, amount);
    }

    /// @dev What comes before exits.
    function _reserved() private view returns (uint256) {
        Frozen memory state = frozen;
        return uint256(state.refundsOwed) + state.withdrawalsOwed + crystals.held;
    }

    /// @dev What there is for exits.
    function _free() private view returns (uint256) {
        return Math.saturatingSub(TOKEN.balanceOf(address(this)), _reserved());
    }

    function _requireOwners(ExitLadder.Leaf memory fields, address recipient, bytes calldata signature)
        private
        view
    {
        if (recipient == fields.owner || msg.sender == fields.owner) return;
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(EXIT_TYPEHASH, fields.index, recipient)));
        require(
            SignatureChecker.isValidSignatureNowCalldata(fields.owner, digest, signature), NotOwners()
        );
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {VaultBase} from "./VaultBase.sol";
import {ILifeboatVault} from "./interfaces/ILifeboatVault.sol";
import {ExitLadder} from "./libraries/ExitLadder.sol";
import {Formats} from "./libraries/Formats.sol";
import {Marks} from "./libraries/Marks.sol";
import {OutflowLimiter} from "./libraries/OutflowLimiter.sol";
import {QuadTree} from "./libraries/QuadTree.sol";

/// @title What a vault does while the venue lives: deposits, checkpoints, withdrawals, crystallisation
abstract contract VaultLive is VaultBase {
    using Marks for Marks.Map;
    using SafeERC20 for IERC20;

    /// @notice Stops deposits.
    function pauseDeposits() external onlyRole(GUARDIAN) {
        _pause();
    }

    /// @notice Allows deposits again.
    function unpauseDeposits() external onlyRole(GUARDIAN) {
        _unpause();
    }

    /// @inheritdoc ILifeboatVault
    function deposit(address owner, uint64 amount)
        external
        nonReentrant
        whenNotPaused
        returns (uint64 number)
    {
        Flow memory current = flow;
        if (current.ended) revert WrongStage(stage());
        require(owner != address(0), NotOwners());
        require(
            amount > 0 && amount <= uint64(type(int64).max) - current.deposited, AmountOutOfRange()
        );
        number = current.deposits;
        bytes32 previous = number == 0 ? bytes32(0) : depositHashes[number - 1];
        bytes32 hash = Formats.depositHash(previous, number, owner, amount);
        depositHashes[number] = hash;
        current.deposited += amount;
        current.deposits += 1;
        _storeFlow(current);
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        require(TOKEN.balanceOf(address(this)) == before + amount, TokenTakesFee());
        emit Deposited(number, owner, amount, hash);
    }

    /// @inheritdoc ILifeboatVault
    function checkpoint(
        bytes calldata header_,
        bytes calldata summary_,
        bytes calldata before_,
        bytes calldata after_,
        bytes calldata signature
    ) external {
        Head memory last = head;
        require(last.stage == Stage.Live, WrongStage(last.stage));
        Formats.requireHeader(header_);
        bytes32 digest = Formats.summaryDigest(summary_);
        require(
            Formats.exitRoot(before_, digest, after_) == Formats.signedExitRoot(header_), NotUnderExitRoot()
        );
        Formats.requireSummary(summary_);
        require(Formats.venue(header_) == VENUE, WrongDeployment());
        require(
            Formats.settlement(summary_) == block.chainid && Formats.vault(summary_) == address(this),
            WrongDeployment()
        );
        _checkTotals(summary_);
        bool signed = VALIDATORS.isFinalized(
            Formats.epoch(header_),
            Formats.view_(header_),
            Formats.parentView(header_),
            keccak256(header_),
            signature
        );
        require(signed, BadSignature());
        _advance(last, header_, digest);
        commitments[last.number % ROOTS_KEPT] =
            Formats.commitment(Formats.withdrawalsRoot(summary_), digest);
    }

    /// @inheritdoc ILifeboatVault
    function withdraw(
        bytes calldata leaf,
        QuadTree.Path calldata path,
        uint24 slot,
        bytes32 summaryDigest
    ) external nonReentrant {
        (uint32 number, address recipient, uint64 amount) = Formats.readWithdrawal(leaf);
        (Marks.Word storage word, uint256 paid) = _withdrawals.find(uint256(number) * 2);
        uint256 marks = word.bits;
        require(marks & paid == 0, AlreadyClaimed());
        (bool fits, bytes32 root) = QuadTree.rootOver(number, leaf, path);
        bytes32 kept = commitments[slot % ROOTS_KEPT];
        require(fits && Formats.commitment(root, summaryDigest) == kept, NotIncluded());
        Flow memory current = flow;
        if (current.ended) {
            frozen.withdrawalsOwed -= amount;
            uint256 refunds = frozen.refundsOwed;
            require(TOKEN.balanceOf(address(this)) >= refunds + amount, Reserved());
        } else {
            uint256 queued = paid << 1;
            if (marks & queued != 0) {
                _requireTime(_payableFrom[number]);
            } else if (_mustWait(current, number, amount)) {
                word.bits = marks | queued;
                return;
            }
            current.withdrawn += amount;
            _storeFlow(current);
        }
        word.bits = marks | paid;
        TOKEN.safeTransfer(recipient, amount);
        emit Withdrawn(number, recipient, amount);
    }

    /// @inheritdoc ILifeboatVault
    function forceWithdrawal(uint64 amount, address recipient) external returns (uint64 number) {
        _requireStage(Stage.Live);
        require(amount > 0, AmountOutOfRange());
        number = requestCount++;
        requests[number] = Request({owner: msg.sender, since: uint64(block.timestamp)});
        emit WithdrawalForced(number, msg.sender, amount, recipient);
    }

    /// @inheritdoc ILifeboatVault
    function crystallise(bytes calldata summary_, bytes calldata leaf, QuadTree.Path calldata path)
        external
        nonReentrant
    {
        _requireStage(Stage.Live);
        _requireLast(summary_);
        _requireTime(head.acceptedAt + OUTAGE_DELAY);
        ExitLadder.Leaf memory fields = ExitLadder.read(leaf);
        uint24 number = head.number;
        require(fields.index != FUND_INDEX, NotCritical());
        require(crystalOf[fields.index].checkpoint != number, AlreadyClaimed());
        require(QuadTree.includes(Formats.accountsRoot(summary_), fields.index, leaf, path), NotIncluded());
        int256 value = ExitLadder.value(leaf, _livePoints(summary_));
        require(value < fields.critical, NotCritical());
        // Under a critical value of 64 bits.
        uint64 price = value > 0 ? uint64(uint256(value)) : 0;
        crystalOf[fields.index] = Crystal({checkpoint: number, paid: price});
        crystalHeld[number] += price;
        Crystals memory current = crystals;
        crystals = Crystals({count: current.count + 1, held: current.held + price});
        emit Crystallised(current.count, fields.index, price, number);
        if (price > 0) require(POOL.draw(price) == price, Reserved());
    }

    /// @inheritdoc ILifeboatVault
    function releaseLapsed(uint24 number) external nonReentrant {
        require(number < head.number, NotNewer());
        uint64 amount = crystalHeld[number];
        require(amount > 0, NothingToClaim());
        delete crystalHeld[number];
        crystals.held -= amount;
        emit CrystallisationsLapsed(number, amount);
        TOKEN.safeTransfer(address(POOL), amount);
    }

    /// @dev I1 and I6 as far as a vault can see them: what is owed is what was deposited, what was withdrawn is
    /// no more than that, and the deposits are its own.
    function _checkTotals(bytes calldata summary) private view {
        int256 cash = Formats.accountsCash(summary);
        int256 withdrawn = Formats.withdrawalsTotal(summary);
        require(withdrawn >= 0 && cash >= 0, TotalsDoNotBalance());
        Flow storage current = flow;
        uint256 cursor = Formats.depositCursor(summary);
        // Sums of 64 bits; a cursor over zero.
        unchecked {
            int256 owed = cash + withdrawn;
            require(
                owed == Formats.depositsTotal(summary) && uint256(owed) <= current.deposited,
                TotalsDoNotBalance()
            );
            bytes32 known = cursor == 0 ? bytes32(0) : depositHashes[cursor - 1];
            require(
                known == Formats.depositsHash(summary) && cursor <= current.deposits, DepositsUnknown()
            );
        }
    }

    function _advance(Head memory last, bytes calldata header, bytes32 digest) private {
        uint64 height = Formats.height(header);
        uint64 executed = Formats.executed(header);
        uint64 epoch = Formats.epoch(header);
        require(
            height > last.height && executed > last.executed && epoch >= last.epoch
                && epoch <= type(uint56).max,
            NotNewer()
        );
        uint24 number = last.number + 1;
        last.height = height;
        last.executed = executed;
        last.epoch = uint56(epoch);
        last.acceptedAt = uint40(block.timestamp);
        last.number = number;
        _storeHead(last);
        emit CheckpointAccepted(number, height, epoch, executed, digest);
    }

    /// @dev Takes a withdrawal through the limiter: whether it must wait, from now on until its turn.
    function _mustWait(Flow memory current, uint32 number, uint64 amount) private returns (bool) {
        uint256 held = current.deposited - current.withdrawn;
        uint256 capacity;
        // 64 bits by a percentage.
        unchecked {
            capacity = Math.max(held * OUTFLOW_PERCENT / 100, OUTFLOW_FLOOR);
        }
        (uint256 busy, uint256 payableFrom) = OutflowLimiter.add(current.busyUntil, capacity, amount);
        current.busyUntil = SafeCast.toUint64(busy);
        if (payableFrom <= block.timestamp) return false;
        _storeFlow(current);
        _payableFrom[number] = payableFrom;
        emit WithdrawalQueued(number, payableFrom);
        return true;
    }

    /// @dev The feeds' prices at this moment; every one must be usable.
    function _livePoints(bytes calldata summary) private view returns (uint128[] memory points) {
        uint256 count = Formats.underlyings(summary);
        points = new uint128[](count);
        for (uint256 id; id < count; ++id) {
            (bool usable, uint256 price) = _price(id);
            require(usable, NoPrice(id));
            points[id] = ExitLadder.point(Formats.readUnderlying(summary, id).step, price);
        }
    }
}

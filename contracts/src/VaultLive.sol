// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {VaultBase} from "./VaultBase.sol";
import {ILifeboatVault} from "./interfaces/ILifeboatVault.sol";
import {ExitLadder} from "./libraries/ExitLadder.sol";
import {Formats, Header, Summary, Withdrawal} from "./libraries/Formats.sol";
import {OutflowLimiter} from "./libraries/OutflowLimiter.sol";
import {QuadTree} from "./libraries/QuadTree.sol";

/// @title What a vault does while the venue lives: deposits, checkpoints, withdrawals, crystallisation
abstract contract VaultLive is VaultBase {
    using BitMaps for BitMaps.BitMap;
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
        _requireStage(Stage.Live);
        Flow memory current = flow;
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
        flow = current;
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
        _requireStage(Stage.Live);
        Header memory header = Formats.readHeader(header_);
        bytes32 digest = Formats.summaryDigest(summary_);
        require(Formats.exitRoot(before_, digest, after_) == header.exitRoot, NotUnderExitRoot());
        Summary memory summary = Formats.readSummary(summary_);
        require(header.venue == VENUE, WrongDeployment());
        require(
            summary.settlement == block.chainid && summary.vault == address(this), WrongDeployment()
        );
        _checkTotals(summary);
        bool signed = VALIDATORS.isFinalized(
            header.epoch, header.view_, header.parentView, keccak256(header_), signature
        );
        require(signed, BadSignature());
        _advance(header, digest);
        withdrawalRoots[head.number % ROOTS_KEPT] = summary.withdrawalsRoot;
    }

    /// @inheritdoc ILifeboatVault
    function withdraw(bytes calldata leaf, QuadTree.Path calldata path, uint24 slot) external nonReentrant {
        Withdrawal memory withdrawal = Formats.readWithdrawal(leaf);
        uint256 paidBit = uint256(withdrawal.number) * 2;
        require(!_withdrawals.get(paidBit), AlreadyClaimed());
        bytes32 root = withdrawalRoots[slot % ROOTS_KEPT];
        require(QuadTree.includes(root, withdrawal.number, leaf, path), NotIncluded());
        if (stage() == Stage.Live) {
            if (!_passLimiter(withdrawal)) return;
        } else {
            frozen.withdrawalsOwed -= withdrawal.amount;
            uint256 refunds = frozen.refundsOwed;
            require(TOKEN.balanceOf(address(this)) >= refunds + withdrawal.amount, Reserved());
        }
        _withdrawals.set(paidBit);
        TOKEN.safeTransfer(withdrawal.recipient, withdrawal.amount);
        emit Withdrawn(withdrawal.number, withdrawal.recipient, withdrawal.amount);
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
        Summary memory summary = _lastSummary(summary_);
        _requireTime(head.acceptedAt + OUTAGE_DELAY);
        ExitLadder.Leaf memory fields = ExitLadder.read(leaf);
        uint24 number = head.number;
        require(fields.index != FUND_INDEX, NotCritical());
        require(crystalOf[fields.index].checkpoint != number, AlreadyClaimed());
        require(QuadTree.includes(summary.accountsRoot, fields.index, leaf, path), NotIncluded());
        int256 value = ExitLadder.value(leaf, _livePoints(summary_, summary.underlyings));
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
    function _checkTotals(Summary memory summary) private view {
        int256 owed = int256(summary.accountsCash) + summary.withdrawalsTotal;
        require(summary.withdrawalsTotal >= 0 && summary.accountsCash >= 0, TotalsDoNotBalance());
        require(
            owed == summary.depositsTotal && uint256(owed) <= flow.deposited, TotalsDoNotBalance()
        );
        uint64 cursor = summary.depositCursor;
        bytes32 known = cursor == 0 ? bytes32(0) : depositHashes[cursor - 1];
        require(known == summary.depositsHash && cursor <= flow.deposits, DepositsUnknown());
    }

    function _advance(Header memory header, bytes32 digest) private {
        Head memory last = head;
        require(
            header.height > last.height && header.executed > last.executed && header.epoch >= last.epoch
                && header.epoch <= type(uint56).max,
            NotNewer()
        );
        uint24 number = last.number + 1;
        head = Head({
            height: header.height,
            executed: header.executed,
            epoch: uint56(header.epoch),
            acceptedAt: uint40(block.timestamp),
            number: number,
            stage: Stage.Live
        });
        summaryDigest = digest;
        emit CheckpointAccepted(number, header.height, header.epoch, header.executed, digest);
    }

    /// @dev Whether a withdrawal may be paid now; puts it in the queue if it may not.
    function _passLimiter(Withdrawal memory withdrawal) private returns (bool) {
        Flow memory current = flow;
        uint256 queuedBit = uint256(withdrawal.number) * 2 + 1;
        if (_withdrawals.get(queuedBit)) {
            _requireTime(_payableFrom[withdrawal.number]);
        } else {
            uint256 held = current.deposited - current.withdrawn;
            uint256 capacity = Math.max(held * OUTFLOW_PERCENT / 100, OUTFLOW_FLOOR);
            (uint256 busy, uint256 payableFrom) =
                OutflowLimiter.add(current.busyUntil, capacity, withdrawal.amount);
            current.busyUntil = SafeCast.toUint64(busy);
            if (payableFrom > block.timestamp) {
                flow = current;
                _withdrawals.set(queuedBit);
                _payableFrom[withdrawal.number] = payableFrom;
                emit WithdrawalQueued(withdrawal.number, payableFrom);
                return false;
            }
        }
        current.withdrawn += withdrawal.amount;
        flow = current;
        return true;
    }

    /// @dev The feeds' prices at this moment; every one must be usable.
    function _livePoints(bytes calldata summary, uint256 count)
        private
        view
        returns (uint128[] memory points)
    {
        points = new uint128[](count);
        for (uint256 id; id < count; ++id) {
            (bool usable, uint256 price) = _price(id);
            require(usable, NoPrice(id));
            points[id] = ExitLadder.point(Formats.readUnderlying(summary, id).step, price);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ILifeboatVault} from "../../src/interfaces/ILifeboatVault.sol";
import {Formats} from "../../src/libraries/Formats.sol";
import {OutflowLimiter} from "../../src/libraries/OutflowLimiter.sol";
import {QuadTree} from "../../src/libraries/QuadTree.sol";
import {CallingToken, FeeToken} from "../support/Doubles.sol";
import {Trees} from "../support/Trees.sol";
import {VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice Receives a withdrawal and tries to take it twice.
contract Reentrant {
    address private target;
    bytes private again;
    bool public refused;

    function arm(address target_, bytes calldata again_) external {
        target = target_;
        again = again_;
    }

    function received() external {
        if (again.length == 0) return;
        (bool done, bytes memory why) = target.call(again);
        refused = !done && bytes4(why) == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
    }
}

/// @notice Deposits and certified withdrawals while the venue lives.
contract WithdrawalsTest is VenueTest {
    using Trees for bytes[];

    function setUp() public override {
        super.setUp();
        deposit(user(1), 100_000e6);
        open(user(1), 100_000e6, 0, "");
    }

    function take(uint64 amount) private returns (uint32 number) {
        books.accountsCash -= int64(amount);
        return certify(user(1), user(2), amount);
    }

    function testAWithdrawalIsPaidAtOnce() public {
        uint32 number = take(5_000e6);
        post();
        withdraw(number);
        vm.assertEq(token.balanceOf(user(2)), 5_000e6);
        vm.expectRevert(ILifeboatVault.AlreadyClaimed.selector);
        this.withdrawAgain(number);
    }

    function withdrawAgain(uint32 number) external {
        withdraw(number);
    }

    function testAnOldProofStaysGood() public {
        uint32 number = take(5_000e6);
        post();
        QuadTree.Path memory path = withdrawals.prove(number);
        uint24 slot = head().number;
        bytes32 digest = digestOf(lastSummary);
        for (uint256 i; i < 5; ++i) {
            take(1e6);
            post();
        }
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.withdraw(withdrawals[number], path, slot, digestOf(lastSummary));
        vault.withdraw(withdrawals[number], path, slot, digest);
        vm.assertEq(token.balanceOf(user(2)), 5_000e6);
    }

    /// @dev What is kept is a hash of two words: neither may stand in the other's place, and none means nothing.
    function testAttackOtherOpeningsOfACommitment(bytes32 digest) public {
        uint32 number = take(5_000e6);
        post();
        vm.assume(digest != digestOf(lastSummary));
        QuadTree.Path memory path = withdrawals.prove(number);
        uint24 slot = head().number;
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.withdraw(withdrawals[number], path, slot, digest);
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.withdraw(withdrawals[number], path, slot, books.withdrawalsRoot);
        // A slot that no checkpoint wrote.
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.withdraw(withdrawals[number], path, slot + 1, 0);
        withdraw(number);
    }

    function testAnUncertifiedWithdrawalIsRefused() public {
        post();
        uint32 number = take(5_000e6);
        uint24 slot = head().number;
        QuadTree.Path memory path = withdrawals.prove(number);
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.withdraw(withdrawals[number], path, slot, digestOf(lastSummary));
    }

    /// @dev An exit leaf in the withdrawals' place, and the leaf of another chain.
    function testAttackAnotherKindOrChainOfLeaf() public {
        uint32 number = take(5_000e6);
        post();
        bytes memory foreign = withdrawals[number];
        foreign[8] ^= 0x01;
        QuadTree.Path memory path = withdrawals.prove(number);
        uint24 slot = head().number;
        vm.expectRevert(Formats.Malformed.selector);
        vault.withdraw(foreign, path, slot, digestOf(lastSummary));
        vm.expectRevert(Formats.Malformed.selector);
        vault.withdraw(leaves[0], path, slot, digestOf(lastSummary));
    }

    /// @dev The vault writes the word whole; the getter reads it field by field.
    function testEveryFieldOfTheFlowIsKeptInItsPlace() public {
        uint32 number = take(5_000e6);
        post();
        withdraw(number);
        deposit(user(1), 7e6);
        (uint64 deposited, uint64 withdrawn, uint64 busyUntil, uint56 deposits, bool ended) = vault.flow();
        vm.assertEq(deposited, 100_007e6);
        vm.assertEq(withdrawn, 5_000e6);
        // Half of a tenth of the vault: half an hour.
        vm.assertEq(busyUntil, (now_() + 30 minutes) * 1e9);
        vm.assertEq(deposits, 2);
        vm.assertFalse(ended);
        freezeNow();
        (deposited, withdrawn, busyUntil, deposits, ended) = vault.flow();
        vm.assertEq(deposited, 100_007e6);
        vm.assertEq(deposits, 2);
        vm.assertTrue(ended);
    }

    // -------------------------------------------------------------------------------------------- limiter

    /// @dev A stolen hot key withdraws 30 % of the vault: a tenth leaves in the first hour, no more.
    function testAttackThirtyPercentOfTheVaultWithAStolenKey() public {
        for (uint256 i; i < 6; ++i) take(5_000e6);
        post();
        for (uint32 number; number < 6; ++number) withdraw(number);
        vm.assertGe(token.balanceOf(user(2)), 5_000e6);
        vm.assertLe(token.balanceOf(user(2)), 10_000e6);
        vm.warp(now_() + 59 minutes);
        for (uint32 number = 1; number < 6; ++number) {
            try this.withdrawAgain(number) {} catch {}
        }
        vm.assertLe(token.balanceOf(user(2)), 20_000e6);
    }

    /// @dev One withdrawal over the whole limit waits, and is paid in full.
    function testTheLimiterCannotTrap() public {
        uint32 number = take(95_000e6);
        post();
        withdraw(number);
        vm.assertEq(token.balanceOf(user(2)), 0);
        uint256 capacity = 10_000e6;
        uint256 wait = (95_000e6 - capacity) * 1 hours / capacity;
        vm.warp(now_() + wait - 1);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 1));
        this.withdrawAgain(number);
        vm.warp(now_() + 1);
        withdraw(number);
        vm.assertEq(token.balanceOf(user(2)), 95_000e6);
    }

    /// @dev Who is in the queue when the vault freezes is paid at once: the limiter ends with the venue.
    function testAFreezeEndsTheQueue() public {
        uint32 number = take(95_000e6);
        post();
        withdraw(number);
        freezeNow();
        withdraw(number);
        vm.assertEq(token.balanceOf(user(2)), 95_000e6);
    }

    function testNothingWaitsLongerThanTheWholeVaultAtTheRate(uint64[8] memory amounts) public {
        uint256 left = 100_000e6;
        for (uint256 i; i < 8 && left > 0; ++i) {
            uint64 amount = uint64(bound(amounts[i], 1, left));
            take(amount);
            left -= amount;
        }
        post();
        for (uint32 number; number < withdrawals.length; ++number) withdraw(number);
        vm.warp(now_() + 10 hours);
        for (uint32 number; number < withdrawals.length; ++number) {
            try this.withdrawAgain(number) {}
            catch (bytes memory why) {
                vm.assertEq(bytes32(bytes4(why)), bytes32(ILifeboatVault.AlreadyClaimed.selector));
            }
        }
        vm.assertEq(token.balanceOf(user(2)), 100_000e6 - left);
    }

    /// @dev The plain formula, in arithmetic that refuses to overflow.
    function testTheLimiterIsItsFormula(uint64 busyUntil, uint64 capacity, uint64 amount) public view {
        if (capacity == 0) capacity = 1;
        (uint256 busy, uint256 payableFrom) = OutflowLimiter.add(busyUntil, capacity, amount);
        uint256 start = block.timestamp * 1e9;
        if (busyUntil > start) start = busyUntil;
        uint256 end = start + (uint256(amount) * 3600e9 + capacity - 1) / capacity;
        vm.assertEq(busy, end);
        vm.assertEq(payableFrom, (end - 3600e9 + 1e9 - 1) / 1e9);
    }

    function testSmallVaultsHaveAFloor() public {
        books.accountsCash -= 95_000e6;
        uint32 number = certify(user(1), user(3), 95_000e6);
        post();
        withdraw(number);
        vm.warp(now_() + 12 hours);
        withdraw(number);
        // 5 000 are left, a tenth of which is 500; the floor of 1 000 leaves at once.
        number = take(1_000e6);
        post();
        withdraw(number);
        vm.assertEq(token.balanceOf(user(2)), 1_000e6);
    }

    // ------------------------------------------------------------------------------------------- deposits

    function testDepositsAreCountedAndHashed() public {
        uint64 number = deposit(user(4), 7e6);
        vm.assertEq(number, 1);
        vm.assertEq(vault.depositHashes(1), books.depositsHash);
    }

    function testNothingAndTooMuchAreNoDeposits() public {
        vm.expectRevert(ILifeboatVault.AmountOutOfRange.selector);
        vault.deposit(user(1), 0);
        vm.expectRevert(ILifeboatVault.AmountOutOfRange.selector);
        vault.deposit(user(1), type(uint64).max);
        vm.expectRevert(ILifeboatVault.NotOwners.selector);
        vault.deposit(address(0), 1);
    }

    function testAttackTokenThatTakesAFee() public {
        token = new FeeToken();
        deployVault();
        token.mint(address(this), 100e6);
        token.approve(address(vault), 100e6);
        vm.expectRevert(ILifeboatVault.TokenTakesFee.selector);
        vault.deposit(user(1), 100e6);
    }

    function testAttackTokenThatCallsBack() public {
        token = new CallingToken();
        delete books;
        delete leaves;
        deployVault();
        Reentrant thief = new Reentrant();
        deposit(user(1), 100_000e6);
        open(user(1), 90_000e6, 0, "");
        certify(user(1), address(thief), 5_000e6);
        certify(user(1), address(thief), 5_000e6);
        post();
        bytes memory again =
            abi.encodeCall(
                vault.withdraw,
                (withdrawals[1], withdrawals.prove(1), head().number, digestOf(lastSummary))
            );
        thief.arm(address(vault), again);
        withdraw(0);
        vm.assertTrue(thief.refused());
        vm.assertEq(token.balanceOf(address(thief)), 5_000e6);
    }

    // ------------------------------------------------------------------------------------------- guardian

    function testAttackGuardianTrapsFunds() public {
        uint32 number = take(1_000e6);
        delete leaves;
        books.accountsCash = 0;
        open(user(1), 99_000e6, 0, "");
        vault.pauseDeposits();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        vault.deposit(user(1), 1e6);
        post();
        withdraw(number);
        vm.assertEq(token.balanceOf(user(2)), 1_000e6);
        vault.forceWithdrawal(1, user(1));
        freezeAt(100_000e6, 3_000e6);
        exit(0);
        vm.assertEq(token.balanceOf(user(1)), 99_000e6);
    }

    function testOnlyTheGuardianPauses() public {
        bytes32 role = vault.GUARDIAN();
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector, user(9), role
            )
        );
        vm.prank(user(9));
        vault.pauseDeposits();
        vault.pauseDeposits();
        vault.unpauseDeposits();
        deposit(user(1), 1e6);
    }

    // --------------------------------------------------------------------------------- forced withdrawals

    function testAnIgnoredRequestFreezes() public {
        post();
        vm.prank(user(1));
        uint64 number = vault.forceWithdrawal(100_000e6, user(1));
        vm.warp(now_() + 24 hours - 1);
        post();
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 1));
        vault.freezeIgnored(lastSummary, number);
        vm.warp(now_() + 1);
        vault.freezeIgnored(lastSummary, number);
        vm.assertEq(uint256(vault.stage()), uint256(ILifeboatVault.Stage.Frozen));
    }

    function testAnAnsweredOrUnknownRequestDoesNot() public {
        uint64 number = vault.forceWithdrawal(1, user(1));
        books.forcedCursor = 1;
        post();
        vm.warp(now_() + 24 hours);
        vm.expectRevert(ILifeboatVault.NotIgnored.selector);
        vault.freezeIgnored(lastSummary, number);
        vm.expectRevert(ILifeboatVault.NotIgnored.selector);
        vault.freezeIgnored(lastSummary, number + 1);
    }
}

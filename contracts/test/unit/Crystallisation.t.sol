// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ILifeboatVault} from "../../src/interfaces/ILifeboatVault.sol";
import {QuadTree} from "../../src/libraries/QuadTree.sol";
import {Trees} from "../support/Trees.sol";
import {VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice Liquidation while every server is dead: the pool buys an account under its critical value.
contract CrystallisationTest is VenueTest {
    using Trees for bytes[];

    function setUp() public override {
        super.setUp();
        deposit(user(1), 200_000e6);
        open(address(pool), 10_000e6, 0, "");
        open(user(1), 90_000e6, 0, call_(0, 10_000e6));
        open(user(2), 12_000e6, 5_000e6, call_(0, -10_000e6));
        open(user(3), 88_000e6, 0, "");
        post();
        token.mint(address(this), 50_000e6);
        token.approve(address(pool), 50_000e6);
        pool.deposit(50_000e6, address(this));
    }

    function crystallise(uint32 index) private {
        vault.crystallise(lastSummary, leaves[index], leaves.prove(index));
    }

    function crystalliseLater(uint32 index) external {
        crystallise(index);
    }

    /// @dev An hour without a checkpoint; at 109 375 the short is worth 4 500.
    function outage() private {
        vm.warp(now_() + 1 hours);
        setPrices(109_375e6, 3_000e6);
    }

    function testTheOwnerKeepsTheValueAndThePoolTheExposure() public {
        outage();
        crystallise(2);
        vm.assertEq(token.balanceOf(address(pool)), 45_500e6);
        // Back to the mark: the short's position is worth 12 000 again, and it is the pool's.
        freezeAt(100_000e6, 3_000e6);
        for (uint32 index; index < 4; ++index) exit(index);
        vm.assertEq(token.balanceOf(user(2)), 4_500e6);
        vm.assertEq(token.balanceOf(address(pool)), 45_500e6 + 12_000e6 + 10_000e6);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    function testThePoolBearsAFurtherMove() public {
        outage();
        crystallise(2);
        freezeAt(112_500e6, 3_000e6);
        for (uint32 index; index < 4; ++index) exit(index);
        vm.assertEq(token.balanceOf(user(2)), 4_500e6);
        vm.assertEq(token.balanceOf(user(1)), 100_000e6);
        vm.assertEq(token.balanceOf(address(pool)), 45_500e6 + 2_000e6 + 10_000e6);
    }

    function testItIsKeptApartFromShares() public {
        books.safeHigh[0] = 112_000e6;
        post();
        outage();
        crystallise(2);
        freezeAt(137_500e6, 3_000e6);
        for (uint32 index = 1; index < 4; ++index) exit(index);
        // Worth -18 000 by now: the owner has what the pool paid, at once.
        vm.assertEq(token.balanceOf(user(2)), 4_500e6);
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        vault.payClaim(1);
        vault.payClaim(3);
        vm.assertEq(token.balanceOf(user(1)), 120_000e6);
        vm.assertEq(token.balanceOf(user(3)), 88_000e6);
    }

    function testOnlyInAnOutage() public {
        vm.warp(now_() + 1 hours - 1);
        setPrices(110_000e6, 3_000e6);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 1));
        this.crystalliseLater(2);
    }

    function testOnlyUnderTheCriticalValue() public {
        outage();
        vm.expectRevert(ILifeboatVault.NotCritical.selector);
        this.crystalliseLater(1);
        setPrices(108_750e6, 3_000e6);
        vm.expectRevert(ILifeboatVault.NotCritical.selector);
        this.crystalliseLater(2);
        setPrices(108_751e6, 3_000e6);
        crystallise(2);
    }

    function testOnlyAtAPriceThatMayBeUsed() public {
        vm.warp(now_() + 2 hours);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
        this.crystalliseLater(2);
    }

    function testOnlyOnce() public {
        outage();
        crystallise(2);
        vm.expectRevert(ILifeboatVault.AlreadyClaimed.selector);
        this.crystalliseLater(2);
    }

    function testNeverTheFund() public {
        books.accountsCash = 0;
        delete leaves;
        open(address(pool), 200_000e6, type(int64).max, "");
        post();
        outage();
        vm.expectRevert(ILifeboatVault.NotCritical.selector);
        this.crystalliseLater(0);
    }

    function testAPoolThatCannotPayBuysNothing() public {
        vm.prank(address(vault));
        pool.draw(47_000e6);
        outage();
        vm.expectRevert(ILifeboatVault.Reserved.selector);
        this.crystalliseLater(2);
    }

    /// @dev The venue returns: what was held goes back, and the account is as its new leaf says.
    function testTheNextCheckpointEndsIt() public {
        outage();
        crystallise(2);
        vm.expectRevert(ILifeboatVault.NotNewer.selector);
        vault.releaseLapsed(1);
        post();
        vault.releaseLapsed(1);
        vm.assertEq(token.balanceOf(address(pool)), 50_000e6);
        vm.expectRevert(ILifeboatVault.NothingToClaim.selector);
        vault.releaseLapsed(1);
        freezeAt(100_000e6, 3_000e6);
        exit(2);
        vm.assertEq(token.balanceOf(user(2)), 12_000e6);
    }

    /// @dev Held money that nobody released is the pool's still, not the exits'.
    function testUnreleasedMoneyIsNotShared() public {
        outage();
        crystallise(2);
        post();
        freezeAt(100_000e6, 3_000e6);
        for (uint32 index; index < 4; ++index) exit(index);
        vm.assertEq(token.balanceOf(address(vault)), 4_500e6);
        vault.releaseLapsed(1);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }
}

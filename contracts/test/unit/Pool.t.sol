// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";

import {IInsurancePool} from "../../src/interfaces/IInsurancePool.sol";
import {VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice Capital that cannot run from what it insures, and nobody's shares are inflated away.
contract PoolTest is VenueTest {
    function setUp() public override {
        super.setUp();
        fund(user(1), 1_000e6);
        post();
    }

    function fund(address holder, uint256 amount) private returns (uint256 shares) {
        token.mint(holder, amount);
        vm.prank(holder);
        token.approve(address(pool), amount);
        vm.prank(holder);
        shares = pool.deposit(amount, holder);
    }

    function redeemable(address holder) private view returns (uint256) {
        return pool.maxRedeem(holder);
    }

    /// @dev Keeps the venue alive up to a time.
    function aliveFor(uint256 time) private {
        vm.warp(now_() + time);
        post();
    }

    function testRedemptionIsAnnounced() public {
        uint256 shares = pool.balanceOf(user(1));
        vm.assertEq(redeemable(user(1)), 0);
        vm.prank(user(1));
        pool.announceRedemption(shares);
        aliveFor(3 days - 1);
        vm.assertEq(redeemable(user(1)), 0);
        aliveFor(1);
        vm.assertEq(redeemable(user(1)), shares);
        vm.prank(user(1));
        pool.redeem(shares, user(1), user(1));
        vm.assertEq(token.balanceOf(user(1)), 1_000e6);
    }

    function testAnAnnouncementIsUsedUpAndEnds() public {
        uint256 shares = pool.balanceOf(user(1));
        vm.prank(user(1));
        pool.announceRedemption(shares / 2);
        aliveFor(3 days);
        vm.prank(user(1));
        pool.redeem(shares / 2, user(1), user(1));
        vm.assertEq(redeemable(user(1)), 0);
        vm.prank(user(1));
        pool.announceRedemption(shares / 2);
        aliveFor(7 days);
        vm.assertEq(redeemable(user(1)), 0);
    }

    function testNobodyLeavesInAnOutage() public {
        uint256 shares = pool.balanceOf(user(1));
        vm.prank(user(1));
        pool.announceRedemption(shares);
        aliveFor(3 days);
        vm.warp(now_() + 1 hours);
        vm.assertEq(redeemable(user(1)), 0);
        vm.expectRevert(
            abi.encodeWithSelector(ERC4626.ERC4626ExceededMaxRedeem.selector, user(1), shares, 0)
        );
        vm.prank(user(1));
        pool.redeem(shares, user(1), user(1));
    }

    function testAfterTheEndEverybodyLeaves() public {
        deposit(user(2), 5e6);
        open(address(pool), 0, 0, "");
        open(user(2), 5e6, 0, "");
        post();
        freezeAt(100_000e6, 3_000e6);
        vm.assertTrue(vault.isPoolReleased());
        vm.assertEq(redeemable(user(1)), pool.balanceOf(user(1)));
    }

    function testOnlyTheVaultDraws() public {
        vm.expectRevert(IInsurancePool.NotVault.selector);
        pool.draw(1);
        vm.prank(address(vault));
        vm.assertEq(pool.draw(5_000e6), 1_000e6);
    }

    /// @dev The first depositor inflates the price of a share by a donation: it costs more than it takes.
    function testAttackInflationOfTheFirstShares(uint256 donation, uint256 victim) public {
        delete books;
        deployVault();
        donation = bound(donation, 1, 1_000_000e6);
        victim = bound(victim, 1, 100_000e6);
        fund(user(8), 1);
        token.mint(address(pool), donation);
        uint256 shares = fund(user(9), victim);
        uint256 stolen = victim - pool.previewRedeem(shares);
        // The victim loses at most what a share in 2 000 000 of the donation comes to, and a unit.
        vm.assertLe(stolen, donation / 1_000_000 + 1);
    }
}

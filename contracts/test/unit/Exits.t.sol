// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ILifeboatVault} from "../../src/interfaces/ILifeboatVault.sol";
import {Formats} from "../../src/libraries/Formats.sol";
import {QuadTree} from "../../src/libraries/QuadTree.sol";
import {Trees} from "../support/Trees.sol";
import {VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice What a frozen vault owes, in order, and what it does not.
contract ExitsTest is VenueTest {
    using Trees for bytes[];

    uint256 private constant OWNER_KEY = 0xa11ce;
    address private signer;

    /// @dev The fund, a long and a short of BTC and ETH calls, and one without options.
    function setUp() public override {
        super.setUp();
        signer = vm.addr(OWNER_KEY);
        deposit(user(1), 400_000e6);
        open(address(pool), 10_000e6, 0, "");
        open(user(1), 90_000e6, 0, abi.encodePacked(call_(0, 5_000e6), straight(1, 100e6)));
        open(user(2), 200_000e6, 20_000e6, abi.encodePacked(call_(0, -5_000e6), straight(1, -100e6)));
        open(signer, 100_000e6, 0, "");
        post();
    }

    function exitLater(uint32 index) external {
        exit(index);
    }

    function exitTo(uint32 index, address recipient, bytes memory signature) external {
        vault.exit(leaves[index], leaves.prove(index), recipient, signature);
    }

    function expectStage(ILifeboatVault.Stage wanted) private view {
        vm.assertEq(uint256(vault.stage()), uint256(wanted));
    }

    // --------------------------------------------------------------------------------- inside the range

    /// @dev BTC 12 % up is 0.96 of a level above the mark, ETH 12.5 % down is one level under it.
    function testEverybodyLeavesWithOpenOptions() public {
        freezeAt(112_000e6, 2_625e6);
        expectStage(ILifeboatVault.Stage.Open);
        for (uint32 index; index < 4; ++index) exit(index);
        vm.assertEq(token.balanceOf(user(1)), 90_000e6 + 4_800e6 - 100e6 - 1);
        vm.assertEq(token.balanceOf(user(2)), 200_000e6 - 4_800e6 + 100e6);
        vm.assertEq(token.balanceOf(signer), 100_000e6);
        vm.assertEq(token.balanceOf(address(pool)), 10_000e6);
        // The dust of rounding, and it is the pool's.
        vm.assertEq(token.balanceOf(address(vault)), 1);
        vault.sweep();
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    function testNobodySweepsBeforeEverybodyLeft() public {
        freezeAt(100_000e6, 3_000e6);
        vm.expectRevert(ILifeboatVault.NothingToClaim.selector);
        vault.sweep();
        for (uint32 index; index < 3; ++index) exit(index);
        vm.expectRevert(ILifeboatVault.NothingToClaim.selector);
        vault.sweep();
    }

    function testAttackDoubleClaim() public {
        freezeAt(100_000e6, 3_000e6);
        exit(1);
        vm.expectRevert(ILifeboatVault.AlreadyClaimed.selector);
        this.exitLater(1);
    }

    function testAttackClaimOfAnothersAccount() public {
        freezeAt(100_000e6, 3_000e6);
        vm.expectRevert(ILifeboatVault.NotOwners.selector);
        this.exitTo(1, user(9), "");
        // The thief's own name in the leaf.
        bytes memory own = leaves[1];
        for (uint256 i; i < 20; ++i) own[13 + i] = bytes20(user(9))[i];
        QuadTree.Path memory path = leaves.prove(1);
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.exit(own, path, user(9), "");
    }

    function testTheOwnerNamesAnotherRecipient() public {
        freezeAt(100_000e6, 3_000e6);
        vm.prank(user(1));
        this.nothing();
        bytes memory data = leaves[1];
        QuadTree.Path memory path = leaves.prove(1);
        vm.prank(user(1));
        vault.exit(data, path, user(8), "");
        vm.assertEq(token.balanceOf(user(8)), 90_000e6);
    }

    function nothing() external {}

    function exitDigest(uint32 index, address recipient) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Lifeboat vault"),
                keccak256("1"),
                block.chainid,
                address(vault)
            )
        );
        bytes32 exitHash =
            keccak256(abi.encode(keccak256("Exit(uint32 index,address recipient)"), index, recipient));
        return keccak256(abi.encodePacked(hex"1901", domain, exitHash));
    }

    function testAnybodyPushesWhatTheOwnerSigned() public {
        freezeAt(100_000e6, 3_000e6);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(OWNER_KEY, exitDigest(3, user(7)));
        bytes memory signature = abi.encodePacked(r, s, v);
        vm.expectRevert(ILifeboatVault.NotOwners.selector);
        this.exitTo(3, user(6), signature);
        this.exitTo(3, user(7), signature);
        vm.assertEq(token.balanceOf(user(7)), 100_000e6);
    }

    /// @dev The 128 bytes under a node, and its tag's place taken by the leaf's: no leaf's shape, no root.
    function testAttackInternalNodeAsLeaf() public {
        for (uint256 i; i < 13; ++i) open(user(20 + i), 0, 0, "");
        post();
        freezeAt(100_000e6, 3_000e6);
        bytes32[] memory level = Trees.digests(leaves);
        bytes memory node = abi.encodePacked(level[0], level[1], level[2], level[3]);
        QuadTree.Path memory path;
        path.count = 17;
        vm.expectRevert(Formats.Malformed.selector);
        vault.exit(node, path, user(9), "");
        node[0] = 0x21;
        vm.expectRevert();
        vault.exit(node, path, user(9), "");
    }

    function testAttackSubtreeAsTree() public {
        for (uint256 i; i < 13; ++i) open(user(20 + i), 0, 0, "");
        post();
        freezeAt(100_000e6, 3_000e6);
        QuadTree.Path memory path = leaves.prove(1);
        path.count = 4;
        bytes32[] memory shorter = new bytes32[](3);
        for (uint256 i; i < 3; ++i) shorter[i] = path.siblings[i];
        path.siblings = shorter;
        bytes memory data = leaves[1];
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.exit(data, path, user(1), "");
    }

    function testAttackLeafOfAnotherChainsVault() public {
        freezeAt(100_000e6, 3_000e6);
        bytes memory data = leaves[1];
        data[8] ^= 0x01;
        QuadTree.Path memory path = leaves.prove(1);
        vm.expectRevert(Formats.Malformed.selector);
        vault.exit(data, path, user(1), "");
    }

    function testAttackTamperedLeafOrPath(uint256 place, uint8 flip) public {
        vm.assume(flip != 0);
        freezeAt(100_000e6, 3_000e6);
        bytes memory data = leaves[1];
        data[bound(place, 0, data.length - 1)] ^= bytes1(flip);
        QuadTree.Path memory path = leaves.prove(1);
        vm.expectRevert();
        vault.exit(data, path, user(1), "");
    }

    /// @dev I9 on chain: for any prices in the range, everybody is paid and less than a unit each is left.
    function testTheVaultIsEmptiedToTheDust(uint256 btcPrice, uint256 ethPrice) public {
        freezeAt(bound(btcPrice, 75_000e6, 125_000e6), bound(ethPrice, 2_250e6, 3_750e6));
        expectStage(ILifeboatVault.Stage.Open);
        for (uint32 index; index < 4; ++index) exit(index);
        vm.assertLt(token.balanceOf(address(vault)), 4);
    }

    function testAnAccountUnderZeroInsideTheRangeIsPaidByTheFundsReserve() public {
        // A new account owes 500; the fund keeps as much back.
        books.accountsCash -= 100_000e6;
        leaves.pop();
        open(signer, 100_500e6, 0, "");
        open(user(5), -500e6, 0, "");
        books.fundReserve = 500e6;
        post();
        freezeAt(100_000e6, 3_000e6);
        for (uint32 index; index < 5; ++index) exit(index);
        vm.assertEq(token.balanceOf(address(pool)), 9_500e6);
        vm.assertEq(token.balanceOf(user(5)), 0);
        vm.assertEq(token.balanceOf(signer), 100_500e6);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    /// @dev Prices at which nobody is under zero: what the fund kept back is for nobody else, once all have left.
    function testTheReserveIsThePoolsOnceEverybodyHasLeft() public {
        books.fundReserve = 500e6;
        post();
        freezeAt(100_000e6, 3_000e6);
        for (uint32 index; index < 3; ++index) exit(index);
        vm.assertEq(token.balanceOf(address(pool)), 9_500e6);
        vm.expectRevert(ILifeboatVault.NothingToClaim.selector);
        vault.sweep();
        exit(3);
        vm.assertEq(token.balanceOf(address(vault)), 500e6);
        vm.prank(user(9));
        vault.sweep();
        vm.assertEq(token.balanceOf(address(pool)), 10_000e6);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    // -------------------------------------------------------------------------------------------- freezing

    function testNobodyFreezesALiveVenue() public {
        vm.warp(now_() + 24 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 1));
        vault.freeze(lastSummary);
        post();
        vm.warp(now_() + 24 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 1));
        vault.freeze(lastSummary);
    }

    function testFrozenIsFinal() public {
        freezeNow();
        bytes memory wrong = abi.encodeWithSelector(
            ILifeboatVault.WrongStage.selector, ILifeboatVault.Stage.Frozen
        );
        vm.expectRevert(wrong);
        vault.deposit(user(1), 1);
        vm.expectRevert(wrong);
        vault.checkpoint("", "", "", "", "");
        vm.expectRevert(wrong);
        vault.forceWithdrawal(1, user(1));
        vm.expectRevert(wrong);
        vault.freeze(lastSummary);
    }

    function testOnlyTheLastSummaryFreezes() public {
        bytes memory older = lastSummary;
        books.fundReserve = 1;
        post();
        vm.warp(now_() + 24 hours);
        vm.expectRevert(ILifeboatVault.NotTheCheckpoint.selector);
        vault.freeze(older);
    }

    function testAVaultThatNeverSawACheckpointReturnsDeposits() public {
        delete books;
        delete leaves;
        deployVault();
        uint64 number = deposit(user(3), 5e6);
        vm.warp(now_() + 24 hours);
        vault.freeze("");
        vault.refund(number, user(3), 5e6, bytes32(0));
        vm.assertEq(token.balanceOf(user(3)), 5e6);
        vm.assertTrue(vault.isPoolReleased());
    }

    // -------------------------------------------------------------------------------------------- the feeds

    function testAttackStaleFeedAtTheFreeze() public {
        freezeNow();
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
        vault.fixPrices(lastSummary);
        setPrices(100_000e6, 3_000e6);
        eth.set(3_000e18, now_() - 1 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 1));
        vault.fixPrices(lastSummary);
        setPrices(100_000e6, 3_000e6);
        vault.fixPrices(lastSummary);
        expectStage(ILifeboatVault.Stage.Open);
    }

    function testAttackZeroNegativeAbsurdOrDeadFeed() public {
        freezeNow();
        int256[5] memory answers = [int256(0), -1, 1, 10_000_001e8, type(int256).max];
        for (uint256 i; i < answers.length; ++i) {
            setPrices(100_000e6, 3_000e6);
            btc.set(answers[i], now_());
            vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
            vault.fixPrices(lastSummary);
        }
        setPrices(100_000e6, 3_000e6);
        btc.breakDown(true);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
        vault.fixPrices(lastSummary);
        btc.breakDown(false);
        btc.set(100_000e8, now_() + 1);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
        vault.fixPrices(lastSummary);
    }

    /// @dev Nothing at its address, half an answer, and all the gas burnt: none of them locks the vault.
    function testAttackFeedThatIsReplacedBySomethingElse() public {
        freezeNow();
        bytes[3] memory codes = [bytes(""), hex"60205ff3", hex"5b5f56"];
        for (uint256 i; i < codes.length; ++i) {
            vm.etch(address(btc), codes[i]);
            eth.set(3_000e18, now_());
            vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
            vault.fixPrices(lastSummary);
        }
        vm.warp(now_() + 3 days);
        eth.set(3_000e18, now_());
        vault.fixPrices(lastSummary);
        exit(1);
        vm.assertEq(token.balanceOf(user(1)), 90_000e6);
    }

    function testADeadFeedIsReplacedByTheMarkAfterItsGrace() public {
        freezeNow();
        btc.breakDown(true);
        vm.warp(now_() + 3 days - 1);
        setPrices(110_000e6, 3_000e6);
        vm.expectRevert(abi.encodeWithSelector(ILifeboatVault.NoPrice.selector, 0));
        vault.fixPrices(lastSummary);
        vm.warp(now_() + 1);
        vault.fixPrices(lastSummary);
        exit(1);
        // The mark, not what the dead feed last said.
        vm.assertEq(token.balanceOf(user(1)), 90_000e6);
    }

    // -------------------------------------------------------------------------------------- what comes first

    function testUncreditedDepositsAreRefundedFirst() public {
        bytes32 before_ = books.depositsHash;
        token.mint(address(this), 50_000e6);
        token.approve(address(vault), 50_000e6);
        uint64 number = vault.deposit(user(6), 50_000e6);
        freezeNow();
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.refund(number, user(9), 50_000e6, before_);
        vault.refund(number, user(6), 50_000e6, before_);
        vm.assertEq(token.balanceOf(user(6)), 50_000e6);
        vm.expectRevert(ILifeboatVault.NotIncluded.selector);
        vault.refund(number, user(6), 50_000e6, before_);
    }

    function testACreditedDepositIsNotRefunded() public {
        freezeNow();
        vm.expectRevert(ILifeboatVault.AlreadyClaimed.selector);
        vault.refund(0, user(1), 400_000e6, bytes32(0));
    }

    function testRefundsAndWithdrawalsAreReservedBeforeExits() public {
        bytes32 before_ = books.depositsHash;
        books.accountsCash -= 100_000e6;
        leaves.pop();
        open(signer, 60_000e6, 0, "");
        uint32 withdrawal = certify(signer, signer, 40_000e6);
        post();
        token.mint(address(this), 50_000e6);
        token.approve(address(vault), 50_000e6);
        uint64 number = vault.deposit(user(6), 50_000e6);
        freezeAt(112_000e6, 2_625e6);
        for (uint32 index; index < 4; ++index) exit(index);
        vault.sweep();
        vm.assertEq(token.balanceOf(address(vault)), 90_000e6);
        withdraw(withdrawal);
        vault.refund(number, user(6), 50_000e6, before_);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    /// @dev The vault was robbed of all but what refunds need: withdrawals must not eat into it.
    function testARobbedVaultStillRefunds() public {
        bytes32 before_ = books.depositsHash;
        books.accountsCash -= 100_000e6;
        leaves.pop();
        open(signer, 60_000e6, 0, "");
        uint32 withdrawal = certify(signer, signer, 40_000e6);
        post();
        token.mint(address(this), 50_000e6);
        token.approve(address(vault), 50_000e6);
        uint64 number = vault.deposit(user(6), 50_000e6);
        vm.prank(address(vault));
        token.transfer(address(0xbad), 400_000e6);
        freezeAt(100_000e6, 3_000e6);
        expectStage(ILifeboatVault.Stage.Claims);
        vm.expectRevert(ILifeboatVault.Reserved.selector);
        this.withdrawLater(withdrawal);
        vault.refund(number, user(6), 50_000e6, before_);
    }

    function withdrawLater(uint32 number) external {
        withdraw(number);
    }

    // ------------------------------------------------------------------------------------ outside the range

    /// @dev At 10x the short owes 200 000 and has 100 000 less than that.
    function crash() private {
        books.safeHigh[0] = 110_000e6;
        books.accountsCash -= 200_000e6 + 90_000e6;
        books.accountsCash += 50_000e6 + 240_000e6;
        leaves[1] = leaf(1, user(1), 240_000e6, 0, call_(0, 5_000e6));
        leaves[2] = leaf(2, user(2), 50_000e6, 0, call_(0, -5_000e6));
        books.accountsRoot = leaves.root();
        post();
        // 20 levels above the mark: the short is worth -50 000.
        freezeAt(350_000e6, 3_000e6);
        expectStage(ILifeboatVault.Stage.Claims);
    }

    function testClaimsAreSharedOutsideTheRange() public {
        crash();
        exit(1);
        exit(2);
        exit(3);
        vm.assertEq(token.balanceOf(user(1)), 0);
        vm.expectRevert(
            abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 7 days)
        );
        vault.closeClaims();
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        // 340 000 and 100 000 are claimed, 400 000 are there.
        vault.payClaim(1);
        vault.payClaim(3);
        vm.assertEq(token.balanceOf(user(1)), uint256(340_000e6) * 400_000e6 / 440_000e6);
        vm.assertEq(token.balanceOf(signer), uint256(100_000e6) * 400_000e6 / 440_000e6);
        vm.expectRevert(ILifeboatVault.NothingToClaim.selector);
        vault.payClaim(2);
        vm.expectRevert(ILifeboatVault.NothingToClaim.selector);
        vault.payClaim(1);
        vm.assertLt(token.balanceOf(address(vault)), 3);
    }

    function testThePoolTopsUpClaims() public {
        token.mint(address(this), 60_000e6);
        token.approve(address(pool), 60_000e6);
        pool.deposit(60_000e6, address(this));
        crash();
        exit(1);
        exit(3);
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        vault.payClaim(1);
        vault.payClaim(3);
        vm.assertEq(token.balanceOf(user(1)), 340_000e6);
        vm.assertEq(token.balanceOf(signer), 100_000e6);
        vm.assertEq(token.balanceOf(address(pool)), 20_000e6);
    }

    function testTheFundDoesNotClaimAmongItsInsured() public {
        crash();
        vm.expectRevert(
            abi.encodeWithSelector(
                ILifeboatVault.WrongStage.selector, ILifeboatVault.Stage.Claims
            )
        );
        this.exitLater(0);
    }

    function testWhoIsLateGetsWhatNobodyClaimedInTime() public {
        crash();
        exit(3);
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        exit(1);
        vm.assertEq(token.balanceOf(user(1)), 300_000e6);
        vault.payClaim(3);
        vm.assertEq(token.balanceOf(signer), 100_000e6);
        vm.assertEq(token.balanceOf(address(vault)), 0);
    }

    function testTheResidueIsThePoolsAfterAQuarter() public {
        crash();
        exit(3);
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        vm.expectRevert(
            abi.encodeWithSelector(ILifeboatVault.TooEarly.selector, now_() + 90 days)
        );
        vault.sweep();
        vm.warp(now_() + 90 days);
        vault.sweep();
        vm.assertEq(token.balanceOf(address(pool)), 300_000e6);
        vault.payClaim(3);
        vm.assertEq(token.balanceOf(signer), 100_000e6);
    }

    function testAClaimOfAnyStageIsOnce() public {
        crash();
        exit(1);
        vm.expectRevert(ILifeboatVault.AlreadyClaimed.selector);
        this.exitLater(1);
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        vm.expectRevert(ILifeboatVault.AlreadyClaimed.selector);
        this.exitLater(1);
    }

    /// @dev Rounding of shares never pays more than there is.
    function testSharesNeverExceedWhatThereIs(uint256 price, uint256 stolen) public {
        books.safeHigh[0] = 100_000e6;
        post();
        stolen = bound(stolen, 1, 399_000e6);
        vm.prank(address(vault));
        token.transfer(address(0xbad), stolen);
        freezeAt(bound(price, 100_001e6, 2_000_000e6), 3_000e6);
        for (uint32 index = 1; index < 4; ++index) exit(index);
        vm.warp(now_() + 7 days);
        vault.closeClaims();
        for (uint32 index = 1; index < 4; ++index) {
            try vault.payClaim(index) {} catch {}
        }
        (,,, uint128 claimed) = vault.exits();
        (uint128 available, uint128 leftover) = vault.shares();
        vm.assertLe(available, claimed);
        vm.assertLt(token.balanceOf(address(vault)) - leftover, 4);
    }
}

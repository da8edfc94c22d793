// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ValidatorKey} from "../../src/ValidatorKey.sol";
import {ILifeboatVault} from "../../src/interfaces/ILifeboatVault.sol";
import {IValidatorKey} from "../../src/interfaces/IValidatorKey.sol";
import {Formats} from "../../src/libraries/Formats.sol";
import {Signer} from "../support/Signer.sol";
import {Books, VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice What a vault takes for the venue's word, and what it does not.
contract CheckpointTest is VenueTest {
    function setUp() public override {
        super.setUp();
        deposit(user(1), 500e6);
        open(user(1), 500e6, 0, "");
    }

    /// @dev Posts `state` signed by `secret` and expects this error.
    function refused(Books memory state, uint256 secret, bytes4 why) private {
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        bytes memory signature = certificate(secret, state, header);
        vm.expectRevert(why);
        vault.checkpoint(header, summary, "", "", signature);
    }

    function next() private view returns (Books memory state) {
        state = books;
        state.height += 20;
        state.executed = state.height - 1;
    }

    function testACheckpointIsAccepted() public {
        post();
        vm.assertEq(head().height, 20);
        vm.assertEq(head().executed, 19);
        vm.assertEq(head().number, 1);
        bytes32 digest = digestOf(lastSummary);
        bytes32 kept = keccak256(abi.encodePacked(books.withdrawalsRoot, digest, hex"26"));
        vm.assertEq(vault.commitments(1), kept);
        post();
        vm.assertEq(head().number, 2);
    }

    function testLargeViewsAndEpochsAreEncodedAsTheValidatorsDo() public {
        books.height = 1 << 40;
        books.epoch = 300;
        post();
        vm.assertEq(head().epoch, 300);
    }

    function testAttackReplayedCheckpoint() public {
        post();
        Books memory same = books;
        refused(same, SECRET, ILifeboatVault.NotNewer.selector);
    }

    function testAttackReorderedCheckpoint() public {
        Books memory earlier = next();
        earlier.height = 10;
        earlier.executed = 9;
        post();
        refused(earlier, SECRET, ILifeboatVault.NotNewer.selector);
        Books memory stuck = next();
        stuck.executed = books.executed;
        refused(stuck, SECRET, ILifeboatVault.NotNewer.selector);
    }

    function testAttackOlderEpoch() public {
        books.epoch = 4;
        post();
        Books memory state = next();
        state.epoch = 3;
        refused(state, SECRET, ILifeboatVault.NotNewer.selector);
    }

    function testAttackCheckpointForAnotherChain() public {
        Books memory state = next();
        state.settlement += 1;
        refused(state, SECRET, ILifeboatVault.WrongDeployment.selector);
    }

    function testAttackCheckpointForAnotherDeployment() public {
        Books memory state = next();
        state.vault = address(0xdead);
        refused(state, SECRET, ILifeboatVault.WrongDeployment.selector);
        state = next();
        state.venue = keccak256("another venue");
        refused(state, SECRET, ILifeboatVault.WrongDeployment.selector);
    }

    function testAttackSignatureOfAnotherKey() public {
        refused(next(), SECRET + 1, ILifeboatVault.BadSignature.selector);
    }

    function testAttackTamperedHeader(uint256 place) public {
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        bytes memory signature = certificate(SECRET, state, header);
        header[bound(place, 0, header.length - 1)] ^= 0x01;
        vm.expectRevert();
        vault.checkpoint(header, summary, "", "", signature);
    }

    function testAttackTamperedSummary(uint256 place) public {
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        bytes memory signature = certificate(SECRET, state, header);
        summary[bound(place, 0, summary.length - 1)] ^= 0x80;
        vm.expectRevert(ILifeboatVault.NotUnderExitRoot.selector);
        vault.checkpoint(header, summary, "", "", signature);
    }

    function testAttackInfinityAsSignature() public {
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        vm.expectRevert(ILifeboatVault.BadSignature.selector);
        vault.checkpoint(header, summary, "", "", new bytes(128));
    }

    function testAttackInfinityAsKey() public {
        vm.expectRevert(IValidatorKey.BadKey.selector);
        new ValidatorKey(VENUE, new bytes(256));
    }

    /// @dev On the curve y^2 = x^3 + 4, and not in the subgroup of prime order: x = 0, y = 2.
    function testAttackSignatureOutsideTheSubgroup() public {
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        bytes memory point = new bytes(128);
        point[127] = 0x02;
        vm.expectRevert(ILifeboatVault.BadSignature.selector);
        vault.checkpoint(header, summary, "", "", point);
    }

    /// @dev What the map to the curve of G2 gives before its cofactor is cleared cannot be made here; a point
    /// that is not on the curve, one with a coordinate over the field, and short keys can.
    function testAttackKeyThatIsNoPoint() public {
        bytes memory key = Signer.key(SECRET);
        key[255] ^= 0x01;
        vm.expectRevert(IValidatorKey.BadKey.selector);
        new ValidatorKey(VENUE, key);
        key = Signer.key(SECRET);
        key[0] = 0x01;
        vm.expectRevert(IValidatorKey.BadKey.selector);
        new ValidatorKey(VENUE, key);
        vm.expectRevert(IValidatorKey.BadKey.selector);
        new ValidatorKey(VENUE, new bytes(0));
    }

    function testBadPointsDoNotBurnTheGasOfTheCaller() public {
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        bytes memory point = new bytes(128);
        point[0] = 0xff;
        uint256 gas = gasleft();
        try vault.checkpoint(header, summary, "", "", point) {} catch {}
        vm.assertLt(gas - gasleft(), 800_000);
    }

    function testTotalsMustBalance() public {
        Books memory state = next();
        state.accountsCash += 1;
        refused(state, SECRET, ILifeboatVault.TotalsDoNotBalance.selector);
        state = next();
        state.accountsCash -= 1;
        refused(state, SECRET, ILifeboatVault.TotalsDoNotBalance.selector);
        state = next();
        state.withdrawalsTotal = -1;
        state.accountsCash += 1;
        refused(state, SECRET, ILifeboatVault.TotalsDoNotBalance.selector);
    }

    function testMoreWithdrawnThanDepositedIsRefused() public {
        Books memory state = next();
        state.withdrawalsTotal = state.depositsTotal + 1;
        state.accountsCash = -1;
        refused(state, SECRET, ILifeboatVault.TotalsDoNotBalance.selector);
    }

    function testMoreThanWasDepositedIsRefused() public {
        Books memory state = next();
        state.depositsTotal += 1;
        state.accountsCash += 1;
        refused(state, SECRET, ILifeboatVault.TotalsDoNotBalance.selector);
    }

    function testDepositsThatTheChainForgotAreRefused() public {
        Books memory state = next();
        state.depositsHash = keccak256("another history");
        refused(state, SECRET, ILifeboatVault.DepositsUnknown.selector);
        state = next();
        state.depositCursor += 1;
        refused(state, SECRET, ILifeboatVault.DepositsUnknown.selector);
        state = next();
        // A cursor past the end has no hash: zero must not pass for it.
        state.depositCursor = 7;
        state.depositsHash = bytes32(0);
        refused(state, SECRET, ILifeboatVault.DepositsUnknown.selector);
    }

    function testOtherChainsSummariesStandBeside() public {
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes32 digest = digestOf(summary);
        bytes memory header = encodeHeader(state, summary);
        bytes32 exitRoot = keccak256(abi.encodePacked(bytes32("a"), digest, bytes32("b"), hex"24"));
        for (uint256 i; i < 32; ++i) header[176 + i] = exitRoot[i];
        bytes memory signature = certificate(SECRET, state, header);
        bytes memory other = abi.encodePacked(bytes32("a"));
        vm.expectRevert(Formats.Malformed.selector);
        vault.checkpoint(header, summary, hex"00", "", signature);
        vm.expectRevert(ILifeboatVault.NotUnderExitRoot.selector);
        vault.checkpoint(header, summary, other, "", signature);
        vault.checkpoint(header, summary, other, abi.encodePacked(bytes32("b")), signature);
        vm.assertEq(head().height, state.height);
    }

    /// @dev The vault writes its words whole; the getters read them field by field.
    function testEveryFieldIsKeptInItsPlace() public {
        books.height = type(uint64).max - 7 - 20;
        books.epoch = type(uint56).max;
        vm.warp(type(uint40).max);
        post();
        vm.assertEq(head().height, type(uint64).max - 7);
        vm.assertEq(head().executed, type(uint64).max - 8);
        vm.assertEq(head().epoch, type(uint56).max);
        vm.assertEq(head().acceptedAt, type(uint40).max);
        vm.assertEq(head().number, 1);
        vm.assertEq(uint256(head().stage), uint256(ILifeboatVault.Stage.Live));
        (uint64 deposited, uint64 withdrawn, uint64 busyUntil, uint56 deposits, bool ended) = vault.flow();
        vm.assertEq(deposited, 500e6);
        vm.assertEq(withdrawn, 0);
        vm.assertEq(busyUntil, 0);
        vm.assertEq(deposits, 1);
        vm.assertFalse(ended);
    }

    // ------------------------------------------------------------------------------------------- rotation

    function rotation(uint256 secret, uint64 number, bytes memory key) private view returns (bytes memory) {
        bytes memory namespace = abi.encodePacked("LIFEBOAT_1_", VENUE, "_ROTATE");
        return Signer.sign(
            secret,
            abi.encodePacked(
                uint8(namespace.length),
                namespace,
                uint64(block.chainid),
                address(validators),
                number,
                key
            )
        );
    }

    function testTheOldKeyNamesTheNewOne() public {
        bytes memory key = Signer.key(SECRET + 5);
        validators.rotate(key, rotation(SECRET, 1, key));
        vm.assertEq(validators.groupKey(), key);
        refused(next(), SECRET, ILifeboatVault.BadSignature.selector);
        Books memory state = next();
        bytes memory summary = encodeSummary(state);
        bytes memory header = encodeHeader(state, summary);
        vault.checkpoint(header, summary, "", "", certificate(SECRET + 5, state, header));
    }

    function testAttackRotationByAnotherOrReplayed() public {
        bytes memory key = Signer.key(SECRET + 5);
        bytes memory foreign = rotation(SECRET + 5, 1, key);
        vm.expectRevert(IValidatorKey.BadSignature.selector);
        validators.rotate(key, foreign);
        bytes memory signature = rotation(SECRET, 1, key);
        validators.rotate(key, signature);
        bytes memory back = Signer.key(SECRET);
        validators.rotate(back, rotation(SECRET + 5, 2, back));
        vm.expectRevert(IValidatorKey.BadSignature.selector);
        validators.rotate(key, signature);
    }

    function testAttackRotationToInfinity() public {
        bytes memory key = new bytes(256);
        bytes memory signature = rotation(SECRET, 1, key);
        vm.expectRevert(IValidatorKey.BadKey.selector);
        validators.rotate(key, signature);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {QuadTree} from "../../src/libraries/QuadTree.sol";
import {Signer} from "../support/Signer.sol";
import {Trees} from "../support/Trees.sol";
import {Books, VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice What transactions cost, the base fee of 21 000 and the call's data included. Run with `--isolate`,
/// so that each call is a transaction with nothing warm; kept in snapshots/.
contract GasTest is VenueTest {
    uint32 private constant INDEX = 123_456;

    function setUp() public override {
        super.setUp();
        deposit(user(1), 1_000_000e6);
        books.accountsCash = 1_000_000e6;
        post();
    }

    /// @dev The ring of commitments is full after 1024 checkpoints; from then on no slot is new.
    function testCheckpoint() public {
        Books memory next = prepare();
        bytes memory summary = encodeSummary(next);
        bytes memory header = encodeHeader(next, summary);
        vault.checkpoint(header, summary, "", "", certificate(SECRET, next, header));
        vm.snapshotGasLastCall("vault", "checkpoint, first 1024");
        vm.store(address(vault), rootSlot(head().number + 1), bytes32("old"));
        books.height = next.height;
        next = prepare();
        summary = encodeSummary(next);
        header = encodeHeader(next, summary);
        vault.checkpoint(header, summary, "", "", certificate(SECRET, next, header));
        vm.snapshotGasLastCall("vault", "checkpoint");
    }

    /// @dev A later key is read from a contract of its own.
    function testCheckpointAfterARotation() public {
        bytes memory key = Signer.key(SECRET + 1);
        bytes memory namespace = abi.encodePacked("LIFEBOAT_1_", VENUE, "_ROTATE");
        bytes memory message = abi.encodePacked(
            uint8(namespace.length), namespace, uint64(block.chainid), address(validators), uint64(1), key
        );
        validators.rotate(key, Signer.sign(SECRET, message));
        Books memory next = prepare();
        vm.store(address(vault), rootSlot(head().number + 1), bytes32("old"));
        bytes memory summary = encodeSummary(next);
        bytes memory header = encodeHeader(next, summary);
        vault.checkpoint(header, summary, "", "", certificate(SECRET + 1, next, header));
        vm.snapshotGasLastCall("vault", "checkpoint, after a rotation of the key");
    }

    function prepare() private view returns (Books memory next) {
        next = books;
        next.height += 10_000_000;
        // Another summary than the last one: its digest is a new value.
        next.accountsRoot = keccak256(abi.encode(next.height));
        next.executed = next.height - 1;
    }

    /// @dev An address as they are: without the zeros of `user`, which are cheaper.
    function person(uint256 seed) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(seed)))));
    }

    function testWithdrawal20() public {
        withdrawal(10, "2^20");
    }

    function testWithdrawal26() public {
        withdrawal(13, "2^26");
    }

    function withdrawal(uint256 depth, string memory accounts) private {
        token.mint(person(3), 1);
        for (uint32 number = INDEX; number < INDEX + 2; ++number) {
            bytes memory data =
                abi.encodePacked(hex"22", uint64(block.chainid), number, person(2), person(3), uint64(5e6));
            (QuadTree.Path memory path, bytes32 root) = Trees.deep(data, number, depth);
            books.withdrawalsRoot = root;
            books.withdrawalsTotal += 5e6;
            books.accountsCash -= 5e6;
            post();
            vault.withdraw(data, path, head().number, digestOf(lastSummary));
            string memory name = number == INDEX ? "withdrawal, new slot, " : "withdrawal, ";
            vm.snapshotGasLastCall("vault", string.concat(name, accounts));
        }
    }

    function testEscape20() public {
        escape(10, "2^20");
    }

    function testEscape26() public {
        escape(13, "2^26");
    }

    function account(uint32 index, int64 critical) private view returns (bytes memory) {
        bytes memory ladders = abi.encodePacked(call_(0, 123_456_789), call_(1, -987_654_321));
        return leaf(index, person(4), 50_000e6, critical, ladders);
    }

    /// @dev With two underlyings' ladders. Others have left before: the counters are not new.
    function escape(uint256 depth, string memory accounts) private {
        token.mint(person(4), 1);
        (QuadTree.Path memory path, bytes32 root) = Trees.deep(account(INDEX, 0), INDEX, depth);
        books.accountsRoot = root;
        post();
        freezeAt(103_000e6, 3_100e6);
        vm.store(address(vault), exitsSlot(), bytes32(uint256(1) << 32));
        vault.exit(account(INDEX, 0), path, person(4), "");
        vm.snapshotGasLastCall("vault", string.concat("escape claim, new slot, ", accounts));
    }

    function testEscapeInAKnownSlot() public {
        token.mint(person(4), 1);
        (QuadTree.Path memory path, bytes32 root) = Trees.deep(account(INDEX, 0), INDEX, 10);
        books.accountsRoot = root;
        post();
        freezeAt(103_000e6, 3_100e6);
        vm.store(address(vault), exitsSlot(), bytes32(uint256(1) << 32));
        vm.store(address(vault), exitedSlot(), bytes32(uint256(1) << 255));
        vault.exit(account(INDEX, 0), path, person(4), "");
        vm.snapshotGasLastCall("vault", "escape claim, 2^20");
    }

    function testCrystallise20() public {
        crystallise(10, "2^20");
    }

    function testCrystallise26() public {
        crystallise(13, "2^26");
    }

    function crystallise(uint256 depth, string memory accounts) private {
        token.mint(address(this), 100_000e6);
        token.approve(address(pool), 100_000e6);
        pool.deposit(100_000e6, address(this));
        bytes memory data = account(INDEX, 60_000e6);
        (QuadTree.Path memory path, bytes32 root) = Trees.deep(data, INDEX, depth);
        books.accountsRoot = root;
        post();
        vm.warp(now_() + 1 hours);
        setPrices(103_000e6, 3_100e6);
        vault.crystallise(lastSummary, data, path);
        vm.snapshotGasLastCall("vault", string.concat("crystallisation, ", accounts));
    }

    function testDeposit() public {
        token.mint(address(this), 5e6);
        token.approve(address(vault), 5e6);
        vault.deposit(user(5), 5e6);
        vm.snapshotGasLastCall("vault", "deposit");
    }

    /// @dev Where `exits` lies; the next test fails if it moves.
    function exitsSlot() private pure returns (bytes32) {
        return bytes32(uint256(EXITS));
    }

    function exitedSlot() private pure returns (bytes32) {
        return keccak256(abi.encode(uint256(INDEX >> 8), uint256(EXITED)));
    }

    function rootSlot(uint256 number) private pure returns (bytes32) {
        return bytes32(ROOTS + number % 1024);
    }

    uint256 private constant EXITS = 14;
    uint256 private constant EXITED = 19;
    uint256 private constant ROOTS = 29;

    function testSlotsAreWhereTheyAreThoughtToBe() public {
        vm.store(address(vault), exitsSlot(), bytes32(uint256(7) << 32));
        (, uint32 left,,) = vault.exits();
        vm.assertEq(left, 7);
        vm.store(address(vault), rootSlot(5), bytes32("kept"));
        vm.assertEq(vault.commitments(5), bytes32("kept"));
    }
}

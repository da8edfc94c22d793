// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ExitLadder} from "../../src/libraries/ExitLadder.sol";
import {Formats, Underlying} from "../../src/libraries/Formats.sol";
import {QuadTree} from "../../src/libraries/QuadTree.sol";
import {vm} from "../support/Vm.sol";

/// @notice An exit summary without its underlyings.
struct Summary {
    uint64 settlement;
    address vault;
    bytes32 accountsRoot;
    int64 accountsCash;
    bytes32 withdrawalsRoot;
    int64 withdrawalsTotal;
    uint64 depositCursor;
    bytes32 depositsHash;
    int64 depositsTotal;
    uint64 forcedCursor;
    uint64 crystallisedCursor;
    int64 fundReserve;
    uint256 underlyings;
}

/// @notice The libraries with calldata in front of them.
contract Readers {
    function includes(bytes32 root, uint256 index, bytes calldata leaf, QuadTree.Path calldata path)
        external
        pure
        returns (bool)
    {
        return QuadTree.includes(root, index, leaf, path);
    }

    function point(uint256 step, uint256 price) external pure returns (uint128) {
        return ExitLadder.point(step, price);
    }

    function ladderValue(bytes calldata data, uint128 where) external pure returns (int256) {
        return ExitLadder.ladderValue(data, 0, where);
    }

    function value(bytes calldata leaf, uint128[] memory points) external view returns (int256) {
        ExitLadder.read(leaf);
        return ExitLadder.value(leaf, points);
    }

    function readLeaf(bytes calldata leaf) external view returns (ExitLadder.Leaf memory) {
        return ExitLadder.read(leaf);
    }

    function readWithdrawal(bytes calldata leaf) external view returns (uint32, address, uint64) {
        return Formats.readWithdrawal(leaf);
    }

    function readSummary(bytes calldata data) external pure returns (Summary memory summary) {
        Formats.requireSummary(data);
        summary.settlement = Formats.settlement(data);
        summary.vault = Formats.vault(data);
        summary.accountsRoot = Formats.accountsRoot(data);
        summary.accountsCash = Formats.accountsCash(data);
        summary.withdrawalsRoot = Formats.withdrawalsRoot(data);
        summary.withdrawalsTotal = Formats.withdrawalsTotal(data);
        summary.depositCursor = Formats.depositCursor(data);
        summary.depositsHash = Formats.depositsHash(data);
        summary.depositsTotal = Formats.depositsTotal(data);
        summary.forcedCursor = Formats.forcedCursor(data);
        summary.crystallisedCursor = Formats.crystallisedCursor(data);
        summary.fundReserve = Formats.fundReserve(data);
        summary.underlyings = Formats.underlyings(data);
    }

    function readUnderlying(bytes calldata data, uint256 id) external pure returns (Underlying memory) {
        return Formats.readUnderlying(data, id);
    }

    function summaryDigest(bytes calldata data) external pure returns (bytes32) {
        return Formats.summaryDigest(data);
    }

    function exitRoot(bytes calldata before_, bytes32 digest, bytes calldata after_)
        external
        pure
        returns (bytes32)
    {
        return Formats.exitRoot(before_, digest, after_);
    }
}

/// @notice Rust and Solidity read the same bytes and compute the same integers.
contract VectorsTest {
    Readers private readers = new Readers();

    function setUp() public {
        vm.chainId(31337);
    }

    function file(string memory name) private view returns (string memory) {
        return vm.readFile(string.concat("../vectors/", name));
    }

    function key(string memory list, uint256 index, string memory field)
        private
        pure
        returns (string memory)
    {
        return string.concat(".", list, "[", vm.toString(index), "].", field);
    }

    function testLaddersAreRusts() public view {
        string memory json = file("exit_ladder.json");
        bytes[3] memory ladders;
        for (uint256 i; i < 3; ++i) {
            int256[] memory levels = vm.parseJsonIntArray(json, string.concat(".ladders[", vm.toString(i), "]"));
            for (uint256 level; level < 17; ++level) {
                ladders[i] = abi.encodePacked(ladders[i], int64(levels[level]));
            }
        }
        uint256 count = vm.parseJsonUint(json, ".count");
        vm.assertEq(count, 80);
        for (uint256 i; i < count; ++i) checkLadders(json, i, ladders);
    }

    function checkLadders(string memory json, uint256 i, bytes[3] memory ladders) private view {
        uint256 step = vm.parseJsonUint(json, key("cases", i, "step"));
        uint256 price = vm.parseJsonUint(json, key("cases", i, "price"));
        uint128 where = readers.point(step, price);
        vm.assertEq(uint64(where), vm.parseJsonUint(json, key("cases", i, "weight")));
        vm.assertEq(uint8(where >> 64), vm.parseJsonUint(json, key("cases", i, "cell")));
        int256[] memory scaled = vm.parseJsonIntArray(json, key("cases", i, "scaled"));
        int256[] memory values = vm.parseJsonIntArray(json, key("cases", i, "values"));
        uint128[] memory points = new uint128[](1);
        points[0] = where;
        for (uint256 shape; shape < 3; ++shape) {
            vm.assertEq(readers.ladderValue(ladders[shape], where), scaled[shape]);
            bytes memory leaf = abi.encodePacked(
                hex"21", uint64(31337), bytes24(0), int64(-7), int64(0), uint8(1), uint8(0), ladders[shape]
            );
            vm.assertEq(readers.value(leaf, points), values[shape]);
        }
    }

    function testLeavesAndTreesAreRusts() public view {
        string memory json = file("exit_leaf.json");
        uint256[] memory steps = vm.parseJsonUintArray(json, ".steps");
        uint256[] memory prices = vm.parseJsonUintArray(json, ".prices");
        uint128[] memory points = new uint128[](2);
        for (uint256 id; id < 2; ++id) points[id] = readers.point(steps[id], prices[id]);
        for (uint256 tree; tree < vm.parseJsonUint(json, ".count"); ++tree) checkTree(json, tree, points);
    }

    function checkTree(string memory json, uint256 tree, uint128[] memory points) private view {
        string memory prefix = string.concat("trees[", vm.toString(tree), "]");
        bytes32 root = vm.parseJsonBytes32(json, string.concat(".", prefix, ".root"));
        uint64 count = uint64(vm.parseJsonUint(json, string.concat(".", prefix, ".count")));
        string memory list = string.concat(prefix, ".leaves");
        for (uint256 i; i < count; ++i) {
            bytes memory leaf = vm.parseJsonBytes(json, key(list, i, "bytes"));
            QuadTree.Path memory path =
                QuadTree.Path(count, vm.parseJsonBytes32Array(json, key(list, i, "siblings")));
            vm.assertTrue(readers.includes(root, i, leaf, path));
            vm.assertFalse(readers.includes(root, i ^ 1, leaf, path));
            vm.assertEq(readers.value(leaf, points), vm.parseJsonInt(json, key(list, i, "value")));
            ExitLadder.Leaf memory fields = readers.readLeaf(leaf);
            vm.assertEq(fields.index, vm.parseJsonUint(json, key(list, i, "index")));
            vm.assertEq(fields.owner, vm.parseJsonAddress(json, key(list, i, "owner")));
        }
    }

    function testWithdrawalsAreRusts() public view {
        string memory json = file("exit_withdrawal.json");
        bytes32 root = vm.parseJsonBytes32(json, ".root");
        uint64 count = uint64(vm.parseJsonUint(json, ".count"));
        for (uint256 i; i < count; ++i) {
            bytes memory leaf = vm.parseJsonBytes(json, key("withdrawals", i, "bytes"));
            QuadTree.Path memory path =
                QuadTree.Path(count, vm.parseJsonBytes32Array(json, key("withdrawals", i, "siblings")));
            vm.assertTrue(readers.includes(root, i, leaf, path));
            (uint32 number, address recipient, uint64 amount) = readers.readWithdrawal(leaf);
            vm.assertEq(number, i);
            vm.assertEq(amount, vm.parseJsonUint(json, key("withdrawals", i, "amount")));
            vm.assertEq(recipient, vm.parseJsonAddress(json, key("withdrawals", i, "recipient")));
        }
    }

    function testDepositHashesAreRusts() public view {
        string memory json = file("exit_deposit.json");
        bytes32 hash;
        for (uint64 i; i < vm.parseJsonUint(json, ".count"); ++i) {
            address owner = vm.parseJsonAddress(json, key("deposits", i, "owner"));
            uint64 amount = uint64(vm.parseJsonUint(json, key("deposits", i, "amount")));
            hash = Formats.depositHash(hash, i, owner, amount);
            vm.assertEq(hash, vm.parseJsonBytes32(json, key("deposits", i, "hash")));
        }
    }

    function testSummariesAreRusts() public view {
        string memory json = file("exit_summary.json");
        bytes memory data = vm.parseJsonBytes(json, ".bytes");
        bytes32 digest = readers.summaryDigest(data);
        vm.assertEq(digest, vm.parseJsonBytes32(json, ".digest"));
        vm.assertEq(readers.exitRoot("", digest, ""), vm.parseJsonBytes32(json, ".exit_root_of_one"));
        bytes32[] memory three = vm.parseJsonBytes32Array(json, ".three");
        vm.assertEq(
            readers.exitRoot(abi.encode(three[0]), digest, abi.encode(three[2])),
            vm.parseJsonBytes32(json, ".exit_root_of_three")
        );
        Summary memory summary = readers.readSummary(data);
        vm.assertEq(summary.settlement, 31337);
        vm.assertEq(summary.vault, address(0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa));
        vm.assertEq(summary.accountsRoot, bytes32(uint256(0x01) * (type(uint256).max / 255)));
        vm.assertEq(summary.accountsCash, 900);
        vm.assertEq(summary.withdrawalsRoot, bytes32(uint256(0x02) * (type(uint256).max / 255)));
        vm.assertEq(summary.withdrawalsTotal, 100);
        vm.assertEq(summary.depositCursor, 4);
        vm.assertEq(summary.depositsHash, bytes32(uint256(0x03) * (type(uint256).max / 255)));
        vm.assertEq(summary.depositsTotal, 1000);
        vm.assertEq(summary.forcedCursor, 5);
        vm.assertEq(summary.crystallisedCursor, 6);
        vm.assertEq(summary.fundReserve, 7);
        vm.assertEq(summary.underlyings, 2);
        Underlying memory second = readers.readUnderlying(data, 1);
        vm.assertEq(second.step, 375e6);
        vm.assertEq(second.safeLow, 2_400e6);
        vm.assertEq(second.safeHigh, 3_600e6);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {InsurancePool} from "../../src/InsurancePool.sol";
import {LifeboatVault} from "../../src/LifeboatVault.sol";
import {ValidatorKey} from "../../src/ValidatorKey.sol";
import {PriceFeed} from "../../src/development/PriceFeed.sol";
import {Token} from "../../src/development/Token.sol";
import {ILifeboatVault} from "../../src/interfaces/ILifeboatVault.sol";
import {Formats} from "../../src/libraries/Formats.sol";
import {Feed} from "../../src/libraries/PriceReader.sol";
import {QuadTree} from "../../src/libraries/QuadTree.sol";
import {Signer} from "./Signer.sol";
import {Trees} from "./Trees.sol";
import {vm} from "./Vm.sol";

/// @notice A venue's side of a checkpoint.
struct Books {
    uint64 height;
    uint64 executed;
    uint64 epoch;
    bytes32 venue;
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
    int64 fundReserve;
    uint64[2] steps;
    int64[2] safeLow;
    int64[2] safeHigh;
}

/// @notice A vault with two underlyings, and a venue that keeps books for it.
abstract contract VenueTest {
    using Trees for bytes[];

    bytes32 internal constant VENUE = keccak256("a venue");
    uint256 internal constant SECRET = 0x1234567890abcdef;
    uint64 internal constant FLOOR = 1_000e6;
    /// @notice BTC at 100 000, ETH at 3 000.
    uint64 internal constant BTC_STEP = 12_500e6;
    uint64 internal constant ETH_STEP = 375e6;

    Token internal token;
    PriceFeed internal btc;
    PriceFeed internal eth;
    ValidatorKey internal validators;
    LifeboatVault internal vault;
    InsurancePool internal pool;

    bytes[] internal leaves;
    bytes[] internal withdrawals;
    Books internal books;
    bytes internal lastSummary;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        token = new Token();
        deployVault();
    }

    function deployVault() internal {
        btc = new PriceFeed(8);
        eth = new PriceFeed(18);
        setPrices(100_000e6, 3_000e6);
        // From the artifacts, so that no test compiles the contracts once more.
        validators = ValidatorKey(
            vm.deployCode("ValidatorKey.sol:ValidatorKey", abi.encode(VENUE, Signer.key(SECRET)))
        );
        bytes memory arguments = abi.encode(token, validators, feeds(), FLOOR, address(this));
        vault = LifeboatVault(vm.deployCode("LifeboatVault.sol:LifeboatVault", arguments));
        pool = InsurancePool(address(vault.POOL()));
        books.venue = VENUE;
        books.settlement = uint64(block.chainid);
        books.vault = address(vault);
        books.steps = [BTC_STEP, ETH_STEP];
        books.safeLow = [int64(75_000e6), 2_250e6];
        books.safeHigh = [int64(125_000e6), 3_750e6];
        books.withdrawalsRoot = withdrawals.root();
    }

    function feeds() internal view returns (Feed[] memory list) {
        list = new Feed[](2);
        list[0] = Feed(btc, 8, 1 hours, 1_000e6, 10_000_000e6);
        list[1] = Feed(eth, 18, 1 hours, 10e6, 1_000_000e6);
    }

    /// @notice Prices in 1e-6 USDC.
    function setPrices(uint256 btcPrice, uint256 ethPrice) internal {
        btc.set(int256(btcPrice * 100), now_());
        eth.set(int256(ethPrice * 1e12), now_());
    }

    // ------------------------------------------------------------------------------- what the venue does

    /// @notice A deposit that the venue credits with the next checkpoint.
    function deposit(address owner, uint64 amount) internal returns (uint64 number) {
        token.mint(address(this), amount);
        token.approve(address(vault), amount);
        number = vault.deposit(owner, amount);
        books.depositCursor += 1;
        books.depositsHash = Formats.depositHash(books.depositsHash, number, owner, amount);
        books.depositsTotal += int64(amount);
    }

    /// @notice An account of the venue: the next leaf.
    function open(address owner, int64 cash, int64 critical, bytes memory ladders)
        internal
        returns (uint32 index)
    {
        index = uint32(leaves.length);
        leaves.push(leaf(index, owner, cash, critical, ladders));
        books.accountsCash += cash;
        books.accountsRoot = leaves.root();
    }

    function leaf(uint32 index, address owner, int64 cash, int64 critical, bytes memory ladders)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodePacked(
            hex"21", uint64(block.chainid), index, owner, cash, critical, uint8(ladders.length / 137), ladders
        );
    }

    /// @notice A ladder that is straight: worth `slope` a level above the mark.
    function straight(uint8 underlying, int64 slope) internal pure returns (bytes memory out) {
        out = abi.encodePacked(underlying);
        for (int64 level = -8; level <= 8; ++level) out = abi.encodePacked(out, level * slope);
    }

    /// @notice A ladder of `lots` calls struck at the mark: `slope` a level above it.
    function call_(uint8 underlying, int64 slope) internal pure returns (bytes memory out) {
        out = abi.encodePacked(underlying);
        for (int64 level = -8; level <= 8; ++level) {
            out = abi.encodePacked(out, level > 0 ? level * slope : int64(0));
        }
    }

    /// @notice A withdrawal: taken off the accounts' cash, claimable after the next checkpoint.
    function certify(address owner, address recipient, uint64 amount) internal returns (uint32 number) {
        number = uint32(withdrawals.length);
        withdrawals.push(
            abi.encodePacked(hex"22", uint64(block.chainid), number, owner, recipient, amount)
        );
        books.withdrawalsTotal += int64(amount);
        books.withdrawalsRoot = withdrawals.root();
    }

    function encodeSummary(Books memory state) internal pure returns (bytes memory) {
        bytes memory first = abi.encodePacked(
            hex"23",
            state.settlement,
            state.vault,
            state.accountsRoot,
            state.accountsCash,
            state.withdrawalsRoot,
            uint32(0),
            state.withdrawalsTotal
        );
        bytes memory second = abi.encodePacked(
            state.depositCursor,
            state.depositsHash,
            state.depositsTotal,
            state.forcedCursor,
            uint64(0),
            state.fundReserve,
            keccak256("da"),
            uint8(2)
        );
        return abi.encodePacked(
            first,
            second,
            abi.encodePacked(state.steps[0], state.safeLow[0], state.safeHigh[0]),
            abi.encodePacked(state.steps[1], state.safeLow[1], state.safeHigh[1])
        );
    }

    function encodeHeader(Books memory state, bytes memory summary) internal pure returns (bytes memory) {
        bytes32 digest = keccak256(abi.encodePacked(summary, hex"23"));
        bytes32 exitRoot = keccak256(abi.encodePacked(digest, hex"24"));
        bytes memory first = abi.encodePacked(
            state.venue, state.height, uint64(1), keccak256("parent"), state.epoch, state.height + 7
        );
        return abi.encodePacked(
            first,
            keccak256("leader"),
            state.height + 6,
            state.executed,
            keccak256("state"),
            exitRoot,
            keccak256("commands"),
            uint32(9),
            uint32(1)
        );
    }

    function certificate(uint256 secret, Books memory state, bytes memory header)
        internal
        view
        returns (bytes memory)
    {
        bytes memory namespace = abi.encodePacked("LIFEBOAT_1_", state.venue, "_FINALIZE");
        return Signer.sign(
            secret,
            abi.encodePacked(
                uint8(namespace.length),
                namespace,
                leb128(state.epoch),
                leb128(state.height + 7),
                leb128(state.height + 6),
                keccak256(header)
            )
        );
    }

    /// @notice Signs and posts the books as they stand.
    function post() internal {
        books.height += 20;
        books.executed = books.height - 1;
        lastSummary = encodeSummary(books);
        bytes memory header = encodeHeader(books, lastSummary);
        vault.checkpoint(header, lastSummary, "", "", certificate(SECRET, books, header));
    }

    function withdraw(uint32 number) internal {
        vault.withdraw(withdrawals[number], withdrawals.prove(number), head().number, digestOf(lastSummary));
    }

    function digestOf(bytes memory summary) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(summary, hex"23"));
    }

    function freezeNow() internal {
        vm.warp(now_() + vault.FREEZE_DELAY());
        vault.freeze(lastSummary);
    }

    /// @notice Freezes, and fixes these prices.
    function freezeAt(uint256 btcPrice, uint256 ethPrice) internal {
        freezeNow();
        setPrices(btcPrice, ethPrice);
        vault.fixPrices(lastSummary);
    }

    function exit(uint32 index) internal {
        vault.exit(leaves[index], leaves.prove(index), ownerOf(index), "");
    }

    function ownerOf(uint32 index) internal view returns (address owner) {
        bytes memory data = leaves[index];
        assembly ("memory-safe") {
            owner := shr(96, mload(add(data, 45)))
        }
    }

    function head() internal view returns (LifeboatVault.Head memory last) {
        (last.height, last.executed, last.epoch, last.acceptedAt, last.number, last.stage) = vault.head();
    }

    function pathOf(uint32 index) internal view returns (QuadTree.Path memory) {
        return leaves.prove(index);
    }

    /// @notice The time. The compiler takes `block.timestamp` for one value in a whole test.
    function now_() internal view returns (uint256) {
        return vm.getBlockTimestamp();
    }

    function leb128(uint64 value) internal pure returns (bytes memory out) {
        while (value >= 0x80) {
            out = abi.encodePacked(out, uint8(value) | 0x80);
            value >>= 7;
        }
        out = abi.encodePacked(out, uint8(value));
    }

    function user(uint256 seed) internal pure returns (address) {
        return address(uint160(0xabc000000 + seed));
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }
}

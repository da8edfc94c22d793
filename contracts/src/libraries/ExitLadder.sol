// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Formats} from "./Formats.sol";

/// @title An account's value at a price: cash and, for each underlying, seventeen levels and lines between
/// @notice The same integers as `proof::exit` in Rust; `vectors/exit_*.json` holds both to it (I9).
/// @dev A price becomes a point once, for all accounts: the level below and how far past it, in 2^-32 of a
/// step. Values are linear in the levels for a given point, so over all accounts they sum to the cash.
library ExitLadder {
    /// @notice A leaf values an underlying that the checkpoint does not know.
    error UnknownUnderlying(uint256 underlying);

    uint256 internal constant WEIGHT_BITS = 32;
    /// @notice The level at the mark.
    uint256 internal constant MARK_LEVEL = 8;
    uint256 private constant LAST_CELL = 15;
    /// @dev The price axis ends here: no product below leaves 128 bits.
    uint256 private constant STEPS_MAX = 1 << 20;

    bytes1 private constant LEAF_KIND = 0x21;
    uint256 private constant LEAF_BYTES = 50;
    uint256 private constant LADDER_BYTES = 137;

    /// @notice A leaf's fixed fields.
    struct Leaf {
        uint32 index;
        address owner;
        int64 critical;
    }

    /// @dev Set in every point, so that one which was never set is known.
    uint128 private constant IS_SET = 1 << 127;

    // slither-disable-start divide-before-multiply
    /// @notice Where a price lies on the levels of an underlying: a set bit, `cell << 64 | weight`.
    function point(uint256 step, uint256 price) internal pure returns (uint128) {
        uint256 end = step * STEPS_MAX;
        if (price > end) price = end;
        uint256 cell = price / step;
        if (cell > LAST_CELL) cell = LAST_CELL;
        uint256 weight = ((price - cell * step) << WEIGHT_BITS) / step;
        return IS_SET | uint128(cell << 64 | weight);
    }
    // slither-disable-end divide-before-multiply

    /// @notice Reads the fixed fields of a leaf that is for this chain.
    function read(bytes calldata leaf) internal view returns (Leaf memory fields) {
        require(leaf.length >= LEAF_BYTES && leaf[0] == LEAF_KIND, Formats.Malformed());
        require(leaf.length == LEAF_BYTES + uint256(uint8(leaf[49])) * LADDER_BYTES, Formats.Malformed());
        require(uint64(Formats.word(leaf, 1) >> 192) == block.chainid, Formats.Malformed());
        fields.index = uint32(Formats.word(leaf, 9) >> 224);
        fields.owner = address(uint160(Formats.word(leaf, 13) >> 96));
        fields.critical = int64(uint64(Formats.word(leaf, 41) >> 192));
    }

    /// @notice How many points, by underlying id, the ladders of a leaf that `read` took need. They ascend.
    function pointsNeeded(bytes calldata leaf) internal pure returns (uint256) {
        return leaf.length == LEAF_BYTES ? 0 : uint256(uint8(leaf[leaf.length - LADDER_BYTES])) + 1;
    }

    /// @notice What the account of a leaf that `read` took is worth, in units of the token, rounded down.
    /// @param points By underlying id.
    function value(bytes calldata leaf, uint128[] memory points) internal pure returns (int256) {
        // Sixteen ladders of 64 bits by weights of 52: far from 256.
        unchecked {
            int256 scaled = int256(int64(uint64(Formats.word(leaf, 33) >> 192))) << WEIGHT_BITS;
            for (uint256 offset = LEAF_BYTES; offset < leaf.length; offset += LADDER_BYTES) {
                uint256 underlying = uint8(leaf[offset]);
                require(
                    underlying < points.length && points[underlying] != 0, UnknownUnderlying(underlying)
                );
                scaled += ladderValue(leaf, offset + 1, points[underlying]);
            }
            return scaled >> WEIGHT_BITS;
        }
    }

    /// @notice The value of the ladder that starts at `offset`, in 2^-32 of a unit.
    function ladderValue(bytes calldata data, uint256 offset, uint128 where) internal pure returns (int256) {
        unchecked {
            offset += uint256(uint8(where >> 64)) * 8;
            int256 low = int64(uint64(Formats.word(data, offset) >> 192));
            int256 high = int64(uint64(Formats.word(data, offset + 8) >> 192));
            return (low << WEIGHT_BITS) + (high - low) * int256(uint256(uint64(where)));
        }
    }
}

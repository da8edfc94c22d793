// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Formats} from "./Formats.sol";

/// @title Inclusion in the venue's four-ary Merkle trees (docs/PROTOCOL.md, "Trees")
/// @dev A leaf ends in 00, a node in 01, a root in 02, so that none passes as another; the root binds the
/// count of leaves, and the count the depth, so that a subtree never passes as a tree.
library QuadTree {
    /// @notice A leaf's way to the root of its tree.
    /// @param count Leaves of the tree.
    /// @param siblings The other three children of each level, from the leaf up.
    struct Path {
        uint64 count;
        bytes32[] siblings;
    }

    uint256 private constant DEPTH_MAX = 16;
    uint8 private constant LEAF_TAG = 0;

    /// @notice Whether `leaf` is at `index` of the tree with this root.
    function includes(bytes32 root, uint256 index, bytes calldata leaf, Path calldata path)
        internal
        pure
        returns (bool)
    {
        (bool fits, bytes32 found) = rootOver(index, leaf, path);
        return fits && found == root;
    }

    /// @notice The root of the one tree that has `leaf` at `index` on this path, if a tree can.
    function rootOver(uint256 index, bytes calldata leaf, Path calldata path)
        internal
        pure
        returns (bool fits, bytes32 root)
    {
        uint256 count = path.count;
        bytes32[] calldata siblings = path.siblings;
        if (index >= count || !_fits(count, siblings.length)) return (false, 0);
        return (true, _root(_climb(Formats.tagged(leaf, LEAF_TAG), index, siblings), count));
    }

    // slither-disable-start divide-before-multiply
    /// @dev The depth d is the least with count <= 4^d.
    function _fits(uint256 count, uint256 length) private pure returns (bool) {
        // A remainder and shifts of less than 256.
        unchecked {
            uint256 depth = length / 3;
            if (length != 3 * depth || depth > DEPTH_MAX) return false;
            return count <= 1 << (2 * depth) && (depth == 0 || count > 1 << (2 * depth - 2));
        }
    }
    // slither-disable-end divide-before-multiply

    function _climb(bytes32 digest, uint256 index, bytes32[] calldata siblings)
        private
        pure
        returns (bytes32)
    {
        assembly ("memory-safe") {
            // Four children and the tag, past the end of used memory; nothing is kept there.
            let node := mload(0x40)
            mstore8(add(node, 128), 1)
            let from := siblings.offset
            let end := add(from, mul(siblings.length, 32))
            for {} lt(from, end) { from := add(from, 96) } {
                let place := shl(5, and(index, 3))
                // As if the digest were the first child; then those before it, and itself.
                calldatacopy(add(node, 32), from, 96)
                calldatacopy(node, from, place)
                mstore(add(node, place), digest)
                digest := keccak256(node, 129)
                index := shr(2, index)
            }
        }
        return digest;
    }

    /// @dev Over the top, the count in eight bytes and the tag.
    function _root(bytes32 top, uint256 count) private pure returns (bytes32 root) {
        assembly ("memory-safe") {
            mstore(0, top)
            mstore(32, shl(184, or(shl(8, count), 2)))
            root := keccak256(0, 41)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

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

    /// @notice Whether `leaf` is at `index` of the tree with this root.
    function includes(bytes32 root, uint256 index, bytes memory leaf, Path calldata path)
        internal
        pure
        returns (bool)
    {
        if (index >= path.count || !_fits(path.count, path.siblings.length)) return false;
        bytes32 top = _climb(keccak256(abi.encodePacked(leaf, hex"00")), index, path.siblings);
        return keccak256(abi.encodePacked(top, path.count, hex"02")) == root;
    }

    // slither-disable-start divide-before-multiply
    /// @dev The depth d is the least with count <= 4^d.
    function _fits(uint256 count, uint256 length) private pure returns (bool) {
        uint256 depth = length / 3;
        if (length % 3 != 0 || depth > DEPTH_MAX) return false;
        return count <= 1 << (2 * depth) && (depth == 0 || count > 1 << (2 * (depth - 1)));
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
                let place := and(index, 3)
                // The siblings before the digest, the digest, those after it.
                calldatacopy(node, from, mul(place, 32))
                mstore(add(node, mul(place, 32)), digest)
                calldatacopy(
                    add(node, mul(add(place, 1), 32)), add(from, mul(place, 32)), mul(sub(3, place), 32)
                )
                digest := keccak256(node, 129)
                index := shr(2, index)
            }
        }
        return digest;
    }
}

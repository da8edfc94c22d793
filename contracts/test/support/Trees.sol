// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {QuadTree} from "../../src/libraries/QuadTree.sol";

/// @notice Four-ary trees built level by level: slow and plain.
library Trees {
    function digests(bytes[] memory leaves) internal pure returns (bytes32[] memory level) {
        level = new bytes32[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) level[i] = keccak256(abi.encodePacked(leaves[i], hex"00"));
    }

    function root(bytes[] memory leaves) internal pure returns (bytes32) {
        bytes32[] memory level = digests(leaves);
        while (level.length > 1) level = parents(level);
        bytes32 top = level.length == 0 ? bytes32(0) : level[0];
        return keccak256(abi.encodePacked(top, uint64(leaves.length), hex"02"));
    }

    function prove(bytes[] memory leaves, uint256 index) internal pure returns (QuadTree.Path memory path) {
        path.count = uint64(leaves.length);
        bytes32[] memory level = digests(leaves);
        while (level.length > 1) {
            for (uint256 i = index / 4 * 4; i < index / 4 * 4 + 4; ++i) {
                if (i != index) path.siblings = push(path.siblings, child(level, i));
            }
            level = parents(level);
            index /= 4;
        }
    }

    function parents(bytes32[] memory level) internal pure returns (bytes32[] memory up) {
        up = new bytes32[]((level.length + 3) / 4);
        for (uint256 i; i < up.length; ++i) {
            up[i] = node(child(level, 4 * i), child(level, 4 * i + 1), child(level, 4 * i + 2), child(level, 4 * i + 3));
        }
    }

    /// @notice A path in a tree of `4^depth` leaves whose other leaves nobody knows, and its root.
    function deep(bytes memory leaf, uint256 index, uint256 depth)
        internal
        pure
        returns (QuadTree.Path memory path, bytes32)
    {
        path.count = uint64(4 ** depth);
        path.siblings = new bytes32[](3 * depth);
        bytes32 digest = keccak256(abi.encodePacked(leaf, hex"00"));
        for (uint256 level; level < depth; ++level) {
            bytes32[4] memory children;
            uint256 next = 3 * level;
            for (uint256 place; place < 4; ++place) {
                if (place == index % 4) {
                    children[place] = digest;
                } else {
                    children[place] = keccak256(abi.encode("sibling", level, place));
                    path.siblings[next++] = children[place];
                }
            }
            digest = node(children[0], children[1], children[2], children[3]);
            index /= 4;
        }
        return (path, keccak256(abi.encodePacked(digest, path.count, hex"02")));
    }

    function node(bytes32 a, bytes32 b, bytes32 c, bytes32 d) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(a, b, c, d, hex"01"));
    }

    function child(bytes32[] memory level, uint256 i) internal pure returns (bytes32) {
        return i < level.length ? level[i] : bytes32(0);
    }

    function push(bytes32[] memory list, bytes32 item) internal pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i; i < list.length; ++i) longer[i] = list[i];
        longer[list.length] = item;
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Bits by number, 256 a word
/// @dev As OpenZeppelin's BitMaps, with the word in the caller's hand: who reads a bit and then sets it reads
/// storage once.
library Marks {
    struct Word {
        uint256 bits;
    }

    struct Map {
        mapping(uint256 bucket => Word) words;
    }

    /// @notice The word that a bit is in, and the bit's place in it.
    function find(Map storage map, uint256 bit) internal view returns (Word storage word, uint256 mask) {
        word = map.words[bit >> 8];
        mask = 1 << (bit & 0xff);
    }
}

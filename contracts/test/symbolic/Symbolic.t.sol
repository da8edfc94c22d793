// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {ExitLadder} from "../../src/libraries/ExitLadder.sol";

/// @notice For every input at once, by halmos: the ladder's arithmetic and the books of claims.
contract SymbolicTest {
    using BitMaps for BitMaps.BitMap;

    BitMaps.BitMap private withdrawals;
    BitMaps.BitMap private exited;

    function value(bytes calldata levels, uint128 where) external pure returns (int256) {
        return ExitLadder.ladderValue(levels, 0, where);
    }

    function scaledAt(int64 low, int64 high, uint64 weight) private view returns (int256) {
        // The cell is 0: the first two levels.
        return this.value(abi.encodePacked(low, high), uint128(weight));
    }

    /// @dev At some weights, for all levels: products of two unknowns are beyond the solvers. Other weights are
    /// left to the property tests in Rust.
    function weights() private pure returns (uint64[6] memory) {
        return [uint64(0), 1, 0x5555_5555, 1 << 32, 0x1_8000_0001, 1 << 52];
    }

    /// @notice I9 for two accounts: what one has the other owes, to the last bit.
    function check_I9_oppositeLaddersSumToZero(int64 low, int64 high) public view {
        if (low == type(int64).min || high == type(int64).min) return;
        for (uint256 i; i < 6; ++i) {
            assert(scaledAt(low, high, weights()[i]) + scaledAt(-low, -high, weights()[i]) == 0);
        }
    }

    /// @notice I9 at the levels: the value is the level.
    function check_I9_levelsAreExact(int64 low, int64 high) public view {
        assert(scaledAt(low, high, 0) == int256(low) * 2 ** 32);
        assert(scaledAt(low, high, 1 << 32) == int256(high) * 2 ** 32);
    }

    /// @notice No level leaves the range that the unchecked arithmetic relies on, at the largest weight.
    function check_nothingOverflows(int64 low, int64 high) public view {
        int256 scaled = scaledAt(low, high, 1 << 52);
        assert(scaled > -(2 ** 121) && scaled < 2 ** 121);
    }

    /// @notice A rounded value is not over the exact one, and by less than a unit under it.
    function check_roundingIsDownByLessThanAUnit(int128 scaled) public pure {
        int256 exact = int256(scaled);
        int256 rounded = exact >> 32;
        assert(rounded * 2 ** 32 <= exact);
        assert(exact - rounded * 2 ** 32 < 2 ** 32);
    }

    /// @notice An exit marks its own account and no other.
    function check_anExitMarksOneAccount(uint32 index, uint32 other) public {
        exited.set(index);
        assert(exited.get(index));
        assert(exited.get(other) == (index == other));
    }

    /// @notice Paid and queued marks of withdrawals never meet.
    function check_withdrawalMarksNeverMeet(uint32 number, uint32 other) public {
        withdrawals.set(uint256(number) * 2);
        assert(!withdrawals.get(uint256(other) * 2 + 1));
        assert(withdrawals.get(uint256(other) * 2) == (number == other));
    }
}

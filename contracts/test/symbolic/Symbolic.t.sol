// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ExitLadder} from "../../src/libraries/ExitLadder.sol";
import {Marks} from "../../src/libraries/Marks.sol";

/// @notice For every input at once, by halmos: the ladder's arithmetic and the books of claims.
contract SymbolicTest {
    using Marks for Marks.Map;

    Marks.Map private withdrawals;
    Marks.Map private exited;

    function isSet(Marks.Map storage map, uint256 bit) private view returns (bool) {
        (Marks.Word storage word, uint256 mask) = map.find(bit);
        return word.bits & mask != 0;
    }

    function set(Marks.Map storage map, uint256 bit) private {
        (Marks.Word storage word, uint256 mask) = map.find(bit);
        word.bits |= mask;
    }

    function value(bytes calldata levels, uint128 where) external pure returns (int256) {
        return ExitLadder.ladderValue(levels, 0, where);
    }

    function scaledAt(int64 low, int64 high, uint64 weight) private view returns (int256) {
        // The cell is 0: the first two levels.
        return this.value(abi.encodePacked(low, high), uint128(weight));
    }

    /// @dev At a weight of few bits, for all levels: products of two unknowns, and of an unknown by a number of
    /// many bits, are beyond the solvers. Other weights are left to the property tests in Rust.
    function sumOfOpposites(int64 low, int64 high, uint64 weight) private view returns (int256) {
        return scaledAt(low, high, weight) + scaledAt(-low, -high, weight);
    }

    /// @notice I9 for two accounts: what one has the other owes, to the last bit.
    function check_I9_oppositesAtTheLevels(int64 low, int64 high) public view {
        if (low == type(int64).min || high == type(int64).min) return;
        assert(sumOfOpposites(low, high, 0) == 0);
        assert(sumOfOpposites(low, high, 1 << 32) == 0);
    }

    /// @notice I9 between two levels.
    function check_I9_oppositesBetweenLevels(int64 low, int64 high) public view {
        if (low == type(int64).min || high == type(int64).min) return;
        assert(sumOfOpposites(low, high, 1) == 0);
        assert(sumOfOpposites(low, high, 1 << 31) == 0);
        assert(sumOfOpposites(low, high, 3 << 30) == 0);
    }

    /// @notice I9 past the last level.
    function check_I9_oppositesBeyondTheLevels(int64 low, int64 high) public view {
        if (low == type(int64).min || high == type(int64).min) return;
        assert(sumOfOpposites(low, high, 3 << 31) == 0);
        assert(sumOfOpposites(low, high, 1 << 52) == 0);
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
        set(exited, index);
        assert(isSet(exited, index));
        assert(isSet(exited, other) == (index == other));
    }

    /// @notice Paid and queued marks of withdrawals never meet, and a withdrawal's are in one word.
    function check_withdrawalMarksNeverMeet(uint32 number, uint32 other) public {
        (Marks.Word storage word, uint256 paid) = withdrawals.find(uint256(number) * 2);
        word.bits |= paid << 1;
        assert(isSet(withdrawals, uint256(number) * 2 + 1));
        assert(!isSet(withdrawals, uint256(other) * 2));
        set(withdrawals, uint256(number) * 2);
        assert(isSet(withdrawals, uint256(other) * 2) == (number == other));
        assert(isSet(withdrawals, uint256(other) * 2 + 1) == (number == other));
    }
}

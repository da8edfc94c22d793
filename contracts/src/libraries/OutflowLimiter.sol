// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title A queue in front of what would leave too fast
/// @notice Every amount takes the time that it needs at the rate of its moment, `capacity` an hour, one after
/// the other. What begins within an hour's work is paid at once; what does not is payable when its turn has
/// come. Nothing is refused and turns do not move, so the limiter slows and cannot trap: with a capacity of a
/// tenth of what is there, everything that is there is payable within ten hours.
library OutflowLimiter {
    /// @dev The time in which a full capacity may leave.
    uint256 internal constant WINDOW = 1 hours;
    /// @dev Nanoseconds, so that small amounts of a large vault take some time too.
    uint256 private constant TICKS = 1e9;

    /// @notice Until when the queue is busy with `amount` in it, and when it may be paid.
    /// @param busyUntil What the last call returned, in nanoseconds, in 64 bits.
    /// @param capacity Over zero, in 64 bits.
    /// @param amount In 64 bits.
    /// @return busy In nanoseconds.
    /// @return payableFrom In seconds, rounded up.
    function add(uint256 busyUntil, uint256 capacity, uint256 amount)
        internal
        view
        returns (uint256 busy, uint256 payableFrom)
    {
        // Amounts, capacities and times of 64 bits, by less than 2^42.
        unchecked {
            uint256 start = block.timestamp * TICKS;
            if (busyUntil > start) start = busyUntil;
            busy = start + (amount * WINDOW * TICKS + capacity - 1) / capacity;
            payableFrom = (busy + TICKS - 1) / TICKS;
        }
        payableFrom -= WINDOW;
    }
}

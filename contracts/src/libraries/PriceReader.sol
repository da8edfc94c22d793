// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice Chainlink's interface, as far as it is used.
interface IAggregator {
    /// @notice Digits after the point of an answer.
    function decimals() external view returns (uint8);

    /// @notice The last answer and when it was given.
    function latestRoundData()
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);
}

/// @notice One underlying's feed.
/// @param aggregator The feed.
/// @param decimals Digits after the point of its answers.
/// @param ageMax An older answer, in seconds, is no price: the feed's heartbeat and some slack.
/// @param priceMin A price not above it is no price, in 1e-6 USDC.
/// @param priceMax A price not below it is no price.
struct Feed {
    IAggregator aggregator;
    uint8 decimals;
    uint32 ageMax;
    uint64 priceMin;
    uint64 priceMax;
}

/// @title Prices from feeds that may be dead, stale, zero or absurd
library PriceReader {
    uint256 private constant DECIMALS = 6;
    /// @dev Many times what a feed behind a proxy costs, and less than a transaction has.
    uint256 private constant READ_GAS = 1_000_000;
    /// @dev More digits than any feed has; keeps the power in range.
    uint256 private constant DECIMALS_MAX = 36;

    /// @notice The price in 1e-6 USDC for one coin, or nothing. Never reverts, whatever stands at the feed's
    /// address and whatever it answers: a feed must not be able to lock a vault.
    function read(Feed memory feed) internal view returns (bool usable, uint256 price) {
        bytes memory question = abi.encodeCall(IAggregator.latestRoundData, ());
        (bool answered, bytes memory data) = address(feed.aggregator).staticcall{gas: READ_GAS}(question);
        if (!answered || data.length < 160) return (false, 0);
        (, int256 answer,, uint256 updatedAt,) =
            abi.decode(data, (uint256, int256, uint256, uint256, uint256));
        if (answer <= 0 || updatedAt == 0 || updatedAt > block.timestamp) return (false, 0);
        if (block.timestamp - updatedAt > feed.ageMax || answer > type(int128).max) return (false, 0);
        price = _scale(uint256(answer), feed.decimals);
        usable = price > feed.priceMin && price < feed.priceMax;
    }

    /// @notice Whether a feed can be used at all.
    function isSane(Feed memory feed) internal view returns (bool) {
        return feed.ageMax > 0 && feed.priceMin < feed.priceMax && feed.priceMax <= uint64(type(int64).max)
            && feed.decimals <= DECIMALS_MAX && feed.aggregator.decimals() == feed.decimals;
    }

    function _scale(uint256 answer, uint256 decimals) private pure returns (uint256) {
        return decimals <= DECIMALS
            ? answer * 10 ** (DECIMALS - decimals)
            : answer / 10 ** (decimals - DECIMALS);
    }
}

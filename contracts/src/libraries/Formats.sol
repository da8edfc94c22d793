// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice The parts of a block header that a vault looks at.
struct Header {
    bytes32 venue;
    uint64 height;
    uint64 epoch;
    uint64 view_;
    uint64 parentView;
    uint64 executed;
    bytes32 exitRoot;
}

/// @notice An exit summary without its underlyings.
struct Summary {
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
    uint64 crystallisedCursor;
    int64 fundReserve;
    uint256 underlyings;
}

/// @notice What is certified about one underlying; all in 1e-6 USDC for one coin.
struct Underlying {
    uint64 step;
    int64 safeLow;
    int64 safeHigh;
}

/// @notice A certified withdrawal.
struct Withdrawal {
    uint32 number;
    address owner;
    address recipient;
    uint64 amount;
}

/// @title Readers of the formats in docs/PROTOCOL.md
library Formats {
    /// @notice The bytes are not what they should be.
    error Malformed();

    uint256 private constant HEADER_BYTES = 248;
    uint256 private constant SUMMARY_BYTES = 218;
    uint256 private constant UNDERLYING_BYTES = 24;
    uint256 private constant UNDERLYINGS_MAX = 16;
    uint256 private constant WITHDRAWAL_BYTES = 61;
    bytes1 private constant WITHDRAWAL_KIND = 0x22;
    bytes1 private constant SUMMARY_KIND = 0x23;
    bytes1 private constant EXIT_ROOT_TAG = 0x24;
    bytes1 private constant DEPOSIT_TAG = 0x25;

    /// @notice The 32 bytes at `offset`, zeros past the end of the call's data. The caller has checked the
    /// length of what it reads: a field is the word's upper part.
    function word(bytes calldata data, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, offset))
        }
    }

    /// @notice Reads a header.
    function readHeader(bytes calldata data) internal pure returns (Header memory header) {
        require(data.length == HEADER_BYTES, Malformed());
        header.venue = bytes32(word(data, 0));
        header.height = uint64(word(data, 32) >> 192);
        header.epoch = uint64(word(data, 80) >> 192);
        header.view_ = uint64(word(data, 88) >> 192);
        header.parentView = uint64(word(data, 128) >> 192);
        header.executed = uint64(word(data, 136) >> 192);
        header.exitRoot = bytes32(word(data, 176));
    }

    /// @notice Reads a summary.
    function readSummary(bytes calldata data) internal pure returns (Summary memory summary) {
        require(data.length >= SUMMARY_BYTES && data[0] == SUMMARY_KIND, Malformed());
        summary.settlement = uint64(word(data, 1) >> 192);
        summary.vault = address(uint160(word(data, 9) >> 96));
        summary.accountsRoot = bytes32(word(data, 29));
        summary.accountsCash = int64(uint64(word(data, 61) >> 192));
        summary.withdrawalsRoot = bytes32(word(data, 69));
        summary.withdrawalsTotal = int64(uint64(word(data, 105) >> 192));
        summary.depositCursor = uint64(word(data, 113) >> 192);
        summary.depositsHash = bytes32(word(data, 121));
        summary.depositsTotal = int64(uint64(word(data, 153) >> 192));
        summary.forcedCursor = uint64(word(data, 161) >> 192);
        summary.crystallisedCursor = uint64(word(data, 169) >> 192);
        summary.fundReserve = int64(uint64(word(data, 177) >> 192));
        summary.underlyings = uint8(data[217]);
        require(
            summary.underlyings <= UNDERLYINGS_MAX
                && data.length == SUMMARY_BYTES + summary.underlyings * UNDERLYING_BYTES,
            Malformed()
        );
    }

    /// @notice Reads one underlying of a summary that `readSummary` took.
    function readUnderlying(bytes calldata summary, uint256 id)
        internal
        pure
        returns (Underlying memory underlying)
    {
        uint256 offset = SUMMARY_BYTES + id * UNDERLYING_BYTES;
        underlying.step = uint64(word(summary, offset) >> 192);
        underlying.safeLow = int64(uint64(word(summary, offset + 8) >> 192));
        underlying.safeHigh = int64(uint64(word(summary, offset + 16) >> 192));
        require(underlying.step > 0, Malformed());
    }

    /// @notice Reads a withdrawal that is for this chain.
    function readWithdrawal(bytes calldata data) internal view returns (Withdrawal memory withdrawal) {
        require(data.length == WITHDRAWAL_BYTES && data[0] == WITHDRAWAL_KIND, Malformed());
        require(uint64(word(data, 1) >> 192) == block.chainid, Malformed());
        withdrawal.number = uint32(word(data, 9) >> 224);
        withdrawal.owner = address(uint160(word(data, 13) >> 96));
        withdrawal.recipient = address(uint160(word(data, 33) >> 96));
        withdrawal.amount = uint64(word(data, 53) >> 192);
    }

    /// @notice The digest of a summary.
    function summaryDigest(bytes calldata summary) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(summary, SUMMARY_KIND));
    }

    /// @notice The exit root over a summary's digest and those of other chains' before and after it.
    function exitRoot(bytes calldata before_, bytes32 digest, bytes calldata after_)
        internal
        pure
        returns (bytes32)
    {
        require(before_.length % 32 == 0 && after_.length % 32 == 0, Malformed());
        return keccak256(abi.encodePacked(before_, digest, after_, EXIT_ROOT_TAG));
    }

    /// @notice The hash over all deposits up to this one.
    function depositHash(bytes32 previous, uint64 number, address owner, uint64 amount)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(previous, number, owner, amount, DEPOSIT_TAG));
    }
}

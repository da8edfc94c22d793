// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice What is certified about one underlying; all in 1e-6 USDC for one coin.
struct Underlying {
    uint64 step;
    int64 safeLow;
    int64 safeHigh;
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
    uint8 private constant SUMMARY_TAG = 0x23;
    uint8 private constant EXIT_ROOT_TAG = 0x24;
    bytes1 private constant DEPOSIT_TAG = 0x25;
    uint8 private constant COMMITMENT_TAG = 0x26;

    /// @notice The 32 bytes at `offset`, zeros past the end of the call's data. The caller has checked the
    /// length of what it reads: a field is the word's upper part.
    function word(bytes calldata data, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, offset))
        }
    }

    // ------------------------------------------------------------------------------------------ block header

    /// @notice Refuses what is no header. What follows reads one that passed.
    function requireHeader(bytes calldata data) internal pure {
        require(data.length == HEADER_BYTES, Malformed());
    }

    /// @notice Which venue's.
    function venue(bytes calldata header) internal pure returns (bytes32) {
        return bytes32(word(header, 0));
    }

    /// @notice The block's height.
    function height(bytes calldata header) internal pure returns (uint64) {
        return uint64(word(header, 32) >> 192);
    }

    /// @notice The epoch of the validators.
    function epoch(bytes calldata header) internal pure returns (uint64) {
        return uint64(word(header, 80) >> 192);
    }

    /// @notice The view in which it was proposed.
    function view_(bytes calldata header) internal pure returns (uint64) {
        return uint64(word(header, 88) >> 192);
    }

    /// @notice The view of the block before it.
    function parentView(bytes calldata header) internal pure returns (uint64) {
        return uint64(word(header, 128) >> 192);
    }

    /// @notice The height that the roots are of.
    function executed(bytes calldata header) internal pure returns (uint64) {
        return uint64(word(header, 136) >> 192);
    }

    /// @notice The root over the exit summaries.
    function signedExitRoot(bytes calldata header) internal pure returns (bytes32) {
        return bytes32(word(header, 176));
    }

    // ------------------------------------------------------------------------------------------ exit summary

    /// @notice Refuses what is no summary. What follows reads one that passed.
    function requireSummary(bytes calldata data) internal pure {
        require(data.length >= SUMMARY_BYTES && data[0] == SUMMARY_KIND, Malformed());
        uint256 count = underlyings(data);
        require(
            count <= UNDERLYINGS_MAX && data.length == SUMMARY_BYTES + count * UNDERLYING_BYTES, Malformed()
        );
    }

    /// @notice The settlement chain's EIP-155 id.
    function settlement(bytes calldata summary) internal pure returns (uint64) {
        return uint64(word(summary, 1) >> 192);
    }

    /// @notice Which vault's.
    function vault(bytes calldata summary) internal pure returns (address) {
        return address(uint160(word(summary, 9) >> 96));
    }

    /// @notice Root of the exit leaves.
    function accountsRoot(bytes calldata summary) internal pure returns (bytes32) {
        return bytes32(word(summary, 29));
    }

    /// @notice Sum of the leaves' cash.
    function accountsCash(bytes calldata summary) internal pure returns (int64) {
        return int64(uint64(word(summary, 61) >> 192));
    }

    /// @notice Root of the withdrawals.
    function withdrawalsRoot(bytes calldata summary) internal pure returns (bytes32) {
        return bytes32(word(summary, 69));
    }

    /// @notice Sum of all withdrawals.
    function withdrawalsTotal(bytes calldata summary) internal pure returns (int64) {
        return int64(uint64(word(summary, 105) >> 192));
    }

    /// @notice Deposits credited.
    function depositCursor(bytes calldata summary) internal pure returns (uint64) {
        return uint64(word(summary, 113) >> 192);
    }

    /// @notice The hash over them.
    function depositsHash(bytes calldata summary) internal pure returns (bytes32) {
        return bytes32(word(summary, 121));
    }

    /// @notice Their sum.
    function depositsTotal(bytes calldata summary) internal pure returns (int64) {
        return int64(uint64(word(summary, 153) >> 192));
    }

    /// @notice Requests on chain answered.
    function forcedCursor(bytes calldata summary) internal pure returns (uint64) {
        return uint64(word(summary, 161) >> 192);
    }

    /// @notice Crystallisations taken in.
    function crystallisedCursor(bytes calldata summary) internal pure returns (uint64) {
        return uint64(word(summary, 169) >> 192);
    }

    /// @notice What of the insurance fund's account is needed inside the safe range.
    function fundReserve(bytes calldata summary) internal pure returns (int64) {
        return int64(uint64(word(summary, 177) >> 192));
    }

    /// @notice How many underlyings.
    function underlyings(bytes calldata summary) internal pure returns (uint256) {
        return word(summary, 217) >> 248;
    }

    /// @notice Reads one underlying of a summary that `requireSummary` took.
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
    function readWithdrawal(bytes calldata data)
        internal
        view
        returns (uint32 number, address recipient, uint64 amount)
    {
        require(data.length == WITHDRAWAL_BYTES && data[0] == WITHDRAWAL_KIND, Malformed());
        require(uint64(word(data, 1) >> 192) == block.chainid, Malformed());
        number = uint32(word(data, 9) >> 224);
        recipient = address(uint160(word(data, 33) >> 96));
        amount = uint64(word(data, 53) >> 192);
    }

    /// @notice The digest of a summary.
    function summaryDigest(bytes calldata summary) internal pure returns (bytes32) {
        return tagged(summary, SUMMARY_TAG);
    }

    /// @notice What a vault keeps of a checkpoint in one word: its withdrawals root and its summary's digest.
    function commitment(bytes32 root, bytes32 digest) internal pure returns (bytes32 kept) {
        assembly ("memory-safe") {
            // Past the end of used memory; nothing is kept there.
            let start := mload(0x40)
            mstore(start, root)
            mstore(add(start, 32), digest)
            mstore8(add(start, 64), COMMITMENT_TAG)
            kept := keccak256(start, 65)
        }
    }

    /// @notice The digest of a message that ends in this byte.
    function tagged(bytes calldata message, uint8 tag) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            // Past the end of used memory; nothing is kept there.
            let start := mload(0x40)
            calldatacopy(start, message.offset, message.length)
            mstore8(add(start, message.length), tag)
            digest := keccak256(start, add(message.length, 1))
        }
    }

    /// @notice The exit root over a summary's digest and those of other chains' before and after it.
    function exitRoot(bytes calldata before_, bytes32 digest, bytes calldata after_)
        internal
        pure
        returns (bytes32 root)
    {
        require(before_.length % 32 == 0 && after_.length % 32 == 0, Malformed());
        assembly ("memory-safe") {
            // Past the end of used memory; nothing is kept there.
            let start := mload(0x40)
            calldatacopy(start, before_.offset, before_.length)
            let end := add(start, before_.length)
            mstore(end, digest)
            calldatacopy(add(end, 32), after_.offset, after_.length)
            end := add(add(end, 32), after_.length)
            mstore8(end, EXIT_ROOT_TAG)
            root := keccak256(start, sub(add(end, 1), start))
        }
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

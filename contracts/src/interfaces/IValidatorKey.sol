// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title The validators' group key and what it signed
/// @notice Safety assumes that fewer than a quorum of the key's shares are in one hand. Resharing among other
/// validators keeps the key; replacing it takes the old key's signature, and nobody else can.
/// Liveness assumes nothing but the precompiles of EIP-2537.
interface IValidatorKey {
    /// @notice The key was replaced.
    event KeyRotated(uint64 indexed number, bytes32 keyHash);

    /// @notice A key outside the subgroup, infinity, or of another length.
    error BadKey();
    /// @notice The old key did not sign this.
    error BadSignature();

    /// @notice Whether a finalization certificate is the validators' over a block.
    /// @param digest The block's digest, keccak256 of its header.
    function isFinalized(
        uint64 epoch,
        uint64 view_,
        uint64 parentView,
        bytes32 digest,
        bytes calldata signature
    ) external view returns (bool);

    /// @notice Replaces the key by one that the old key signed.
    /// @param key EIP-2537's encoding of a point of G2.
    function rotate(bytes calldata key, bytes calldata signature) external;

    /// @notice Which venue's validators.
    function VENUE() external view returns (bytes32);

    /// @notice The key.
    function groupKey() external view returns (bytes memory);

    /// @notice How often it was replaced.
    function rotations() external view returns (uint64);
}

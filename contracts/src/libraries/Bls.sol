// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title BLS12-381 signatures in G1 under keys in G2 (MinSig), checked by EIP-2537's precompiles
/// @notice Points are uncompressed, each coordinate padded to 64 bytes; Fp2 is c0 before c1.
/// @dev The precompiles check that points lie on the curve, and the pairing that they lie in the subgroup.
/// The point at infinity passes both, and makes the equation true if both key and signature are it; it is
/// refused here. A precompile burns all the gas that it was given on bad input, so what it is given has a
/// bound: well over today's prices, so that a fork that raises them does not lock the vault.
library Bls {
    /// @notice A precompile refused its input: a coordinate over the field's order, or a point off its curve.
    error PrecompileFailed();

    uint256 internal constant G1_BYTES = 128;
    uint256 internal constant G2_BYTES = 256;

    /// @dev About five times what the pairing of two pairs costs (102 900).
    uint256 private constant PAIRING_GAS = 500_000;
    /// @dev About five times what the dearest of the others costs (5 500).
    uint256 private constant POINT_GAS = 30_000;

    uint256 private constant SHA256 = 0x02;
    uint256 private constant MODEXP = 0x05;
    uint256 private constant G1ADD = 0x0b;
    uint256 private constant PAIRING = 0x0f;
    uint256 private constant MAP_FP_TO_G1 = 0x10;

    /// @dev The domain separation tag and its length in one byte.
    bytes private constant DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_\x2b";

    /// @dev The field's order, padded to 64 bytes.
    bytes private constant FIELD = hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

    /// @dev Minus the generator of G2.
    bytes private constant NEGATIVE_G2 = hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        hex"0000000000000000000000000000000013e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        hex"000000000000000000000000000000000d1b3cc2c7027888be51d9ef691d77bcb679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa"
        hex"0000000000000000000000000000000013fa4d4a0ad8b1ce186ed5061789213d993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed";

    /// @dev The generator of G1.
    bytes private constant G1 = hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        hex"0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";

    /// @notice Whether `signature` is the holder of `key`'s over `message`. Wrong lengths and infinity are not.
    /// @param key A key that passed `isKey`.
    function verify(bytes memory key, bytes memory message, bytes memory signature) internal view returns (bool) {
        if (signature.length != G1_BYTES || _isZero(signature)) return false;
        return _pairingIsOne(abi.encodePacked(signature, NEGATIVE_G2, hashToG1(message), key));
    }

    /// @notice Whether `key` can be a group key: in G2's subgroup, and not infinity.
    function isKey(bytes memory key) internal view returns (bool) {
        if (key.length != G2_BYTES || _isZero(key)) return false;
        (bool valid,) = address(uint160(PAIRING)).staticcall{gas: PAIRING_GAS}(abi.encodePacked(G1, key));
        return valid;
    }

    /// @notice RFC 9380's hash to the curve, BLS12381G1_XMD:SHA-256_SSWU_RO_.
    function hashToG1(bytes memory message) internal view returns (bytes memory point) {
        bytes memory fields = _hashToField(message);
        bytes memory points = new bytes(2 * G1_BYTES);
        point = new bytes(G1_BYTES);
        bool valid;
        assembly ("memory-safe") {
            let first := add(points, 32)
            let second := add(points, 160)
            valid := staticcall(POINT_GAS, MAP_FP_TO_G1, add(fields, 32), 64, first, 128)
            valid := and(valid, eq(returndatasize(), 128))
            valid := and(staticcall(POINT_GAS, MAP_FP_TO_G1, add(fields, 96), 64, second, 128), valid)
            valid := and(valid, eq(returndatasize(), 128))
            valid := and(staticcall(POINT_GAS, G1ADD, first, 256, add(point, 32), 128), valid)
            valid := and(valid, eq(returndatasize(), 128))
        }
        require(valid, PrecompileFailed());
    }

    /// @dev Two field elements of 64 bytes, from expand_message_xmd with 128 bytes: four digests, each over the
    /// first one and the one before it, and 512 bits at a time modulo the field's order (a power of one).
    function _hashToField(bytes memory message) private view returns (bytes memory fields) {
        bytes32 base = sha256(abi.encodePacked(new bytes(64), message, hex"008000", DST));
        bytes memory round = abi.encodePacked(bytes32(0), uint8(0), DST);
        bytes memory power = abi.encodePacked(
            uint256(64), uint256(1), uint256(64), bytes32(0), bytes32(0), hex"01", FIELD
        );
        fields = new bytes(128);
        bool valid = true;
        assembly ("memory-safe") {
            let digest := 0
            for { let i := 1 } lt(i, 5) { i := add(i, 1) } {
                mstore(add(round, 32), xor(base, digest))
                mstore8(add(round, 64), i)
                // The first and third digest are the upper half, the others the lower.
                let half := add(power, sub(160, mul(32, and(i, 1))))
                valid := and(staticcall(POINT_GAS, SHA256, add(round, 32), 77, half, 32), valid)
                digest := mload(half)
                if iszero(and(i, 1)) {
                    let field := add(fields, sub(mul(32, i), 32))
                    valid := and(staticcall(POINT_GAS, MODEXP, add(power, 32), 225, field, 64), valid)
                    valid := and(valid, eq(returndatasize(), 64))
                }
            }
        }
        require(valid, PrecompileFailed());
    }

    function _pairingIsOne(bytes memory pairs) private view returns (bool) {
        (bool valid, bytes memory answer) = address(uint160(PAIRING)).staticcall{gas: PAIRING_GAS}(pairs);
        return valid && answer.length == 32 && abi.decode(answer, (uint256)) == 1;
    }

    function _isZero(bytes memory data) private pure returns (bool) {
        uint256 any;
        for (uint256 offset = 32; offset <= data.length; offset += 32) {
            assembly ("memory-safe") {
                any := or(any, mload(add(data, offset)))
            }
        }
        return any == 0;
    }
}

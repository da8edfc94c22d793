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

    /// @dev The domain separation tag BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_ and its length in one byte.
    bytes32 private constant DST_START = "BLS_SIG_BLS12381G1_XMD:SHA-256_S";
    bytes32 private constant DST_END = "SWU_RO_POP_\x2b";

    /// @dev The field's order, its upper and lower half in 64 bytes.
    uint256 private constant FIELD_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant FIELD_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

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
    function verify(bytes memory key, bytes memory message, bytes calldata signature)
        internal
        view
        returns (bool isOne)
    {
        if (signature.length != G1_BYTES) return false;
        bytes memory pairs = abi.encodePacked(signature, NEGATIVE_G2, hashToG1(message), key);
        assembly ("memory-safe") {
            let x := or(mload(add(pairs, 32)), mload(add(pairs, 64)))
            let y := or(mload(add(pairs, 96)), mload(add(pairs, 128)))
            let valid := staticcall(PAIRING_GAS, PAIRING, add(pairs, 32), mload(pairs), 0, 32)
            valid := and(and(valid, eq(returndatasize(), 32)), eq(mload(0), 1))
            isOne := and(valid, iszero(iszero(or(x, y))))
        }
    }

    /// @notice Whether `key` can be a group key: in G2's subgroup, and not infinity.
    function isKey(bytes memory key) internal view returns (bool) {
        if (key.length != G2_BYTES || keccak256(key) == keccak256(new bytes(G2_BYTES))) return false;
        (bool valid,) = address(uint160(PAIRING)).staticcall{gas: PAIRING_GAS}(abi.encodePacked(G1, key));
        return valid;
    }

    /// @notice RFC 9380's hash to the curve, BLS12381G1_XMD:SHA-256_SSWU_RO_.
    /// @dev expand_message_xmd with 128 bytes: four digests, each over the first one and the one before it. Two
    /// of them, modulo the field's order (a power of one), are a field element, and its image a point. All of
    /// it happens past the end of used memory; nothing is kept there.
    function hashToG1(bytes memory message) internal view returns (bytes memory point) {
        point = new bytes(G1_BYTES);
        bool valid;
        assembly ("memory-safe") {
            // A digest, a counter of a byte and the tag: what the digests after the first are over.
            let round := mload(0x40)
            // Three lengths of 32 bytes, base of 64, exponent of 1, modulus of 64, and the power.
            let power := add(round, 96)
            let field := add(power, 225)
            let points := add(field, 64)

            // The first is over a block of zeros, the message, the length, a counter of zero and the tag.
            mstore(round, 0)
            mstore(add(round, 32), 0)
            let length := mload(message)
            mcopy(add(round, 64), add(message, 32), length)
            let end := add(add(round, 64), length)
            mstore(end, shl(232, 0x008000))
            mstore(add(end, 3), DST_START)
            mstore(add(end, 35), DST_END)
            valid := staticcall(POINT_GAS, SHA256, round, add(length, 111), round, 32)

            let base := mload(round)
            mstore(add(round, 33), DST_START)
            mstore(add(round, 65), DST_END)
            mstore(power, 64)
            mstore(add(power, 32), 1)
            mstore(add(power, 64), 64)
            mstore8(add(power, 160), 1)
            mstore(add(power, 161), FIELD_HIGH)
            mstore(add(power, 193), FIELD_LOW)
            for { let i := 0 } lt(i, 2) { i := add(i, 1) } {
                mstore8(add(round, 32), add(1, mul(2, i)))
                valid := and(staticcall(POINT_GAS, SHA256, round, 77, add(power, 96), 32), valid)
                mstore(round, xor(base, mload(add(power, 96))))
                mstore8(add(round, 32), add(2, mul(2, i)))
                valid := and(staticcall(POINT_GAS, SHA256, round, 77, add(power, 128), 32), valid)
                mstore(round, xor(base, mload(add(power, 128))))
                valid := and(staticcall(POINT_GAS, MODEXP, power, 225, field, 64), valid)
                valid := and(valid, eq(returndatasize(), 64))
                let image := add(points, mul(128, i))
                valid := and(staticcall(POINT_GAS, MAP_FP_TO_G1, field, 64, image, 128), valid)
                valid := and(valid, eq(returndatasize(), 128))
            }
            valid := and(staticcall(POINT_GAS, G1ADD, points, 256, add(point, 32), 128), valid)
            valid := and(valid, eq(returndatasize(), 128))
        }
        require(valid, PrecompileFailed());
    }
}

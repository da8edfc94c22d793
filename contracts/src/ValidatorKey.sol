// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IValidatorKey} from "./interfaces/IValidatorKey.sol";
import {Bls} from "./libraries/Bls.sol";

/// @title The validators' group key
/// @dev The first key is part of this contract's code, a later one the code of a contract of its own: reading
/// 256 bytes of code costs nothing in the one case and in the other a fifth of eight storage words.
contract ValidatorKey is IValidatorKey {
    /// @dev `PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN`: the code is what follows, STOP first, so
    /// that nothing happens when it is called.
    bytes10 private constant DATA_CODE = 0x61010180600a5f395ff3;
    bytes1 private constant STOP = 0x00;

    /// @dev What messages begin with: the length of their namespace and its first part.
    bytes12 private constant FINALIZE = "\x34LIFEBOAT_1_";
    bytes12 private constant ROTATE = "\x32LIFEBOAT_1_";
    /// @dev Where the numbers of a finalization begin in its message, and what they take at most.
    uint256 private constant NUMBERS = 53;
    bytes30 private constant NUMBERS_ROOM = 0;

    /// @inheritdoc IValidatorKey
    bytes32 public immutable VENUE;

    /// @dev The first key, as eight words.
    bytes32 private immutable KEY_0;
    bytes32 private immutable KEY_1;
    bytes32 private immutable KEY_2;
    bytes32 private immutable KEY_3;
    bytes32 private immutable KEY_4;
    bytes32 private immutable KEY_5;
    bytes32 private immutable KEY_6;
    bytes32 private immutable KEY_7;

    /// @dev Where a later key lies; none is 0.
    address private _data;
    /// @inheritdoc IValidatorKey
    uint64 public rotations;

    /// @param venue Which venue's validators.
    /// @param key EIP-2537's encoding of a point of G2.
    constructor(bytes32 venue, bytes memory key) {
        require(Bls.isKey(key), BadKey());
        VENUE = venue;
        bytes32[8] memory words = abi.decode(key, (bytes32[8]));
        (KEY_0, KEY_1, KEY_2, KEY_3) = (words[0], words[1], words[2], words[3]);
        (KEY_4, KEY_5, KEY_6, KEY_7) = (words[4], words[5], words[6], words[7]);
    }

    /// @inheritdoc IValidatorKey
    function isFinalized(
        uint64 epoch,
        uint64 view_,
        uint64 parentView,
        bytes32 digest,
        bytes calldata signature
    ) external view returns (bool) {
        bytes memory message = abi.encodePacked(FINALIZE, VENUE, "_FINALIZE", NUMBERS_ROOM, digest);
        assembly ("memory-safe") {
            // Seven bits a byte, the least first; the upper bit says that more follow.
            function append(end, value) -> next {
                next := end
                for {} gt(value, 0x7f) { value := shr(7, value) } {
                    mstore8(next, or(value, 0x80))
                    next := add(next, 1)
                }
                mstore8(next, value)
                next := add(next, 1)
            }
            let end := append(append(append(add(message, add(32, NUMBERS)), epoch), view_), parentView)
            mstore(end, digest)
            mstore(message, sub(end, message))
        }
        return Bls.verify(groupKey(), message, signature);
    }

    /// @inheritdoc IValidatorKey
    function rotate(bytes calldata key, bytes calldata signature) external {
        uint64 number = rotations + 1;
        bytes memory message = abi.encodePacked(
            ROTATE, VENUE, "_ROTATE", uint64(block.chainid), address(this), number, key
        );
        require(Bls.verify(groupKey(), message, signature), BadSignature());
        require(Bls.isKey(key), BadKey());
        rotations = number;
        _data = _write(key);
        emit KeyRotated(number, keccak256(key));
    }

    /// @inheritdoc IValidatorKey
    function groupKey() public view returns (bytes memory key) {
        address data = _data;
        if (data == address(0)) {
            return abi.encodePacked(KEY_0, KEY_1, KEY_2, KEY_3, KEY_4, KEY_5, KEY_6, KEY_7);
        }
        key = new bytes(Bls.G2_BYTES);
        assembly ("memory-safe") {
            extcodecopy(data, add(key, 32), 1, 256)
        }
    }

    function _write(bytes calldata key) private returns (address data) {
        bytes memory code = abi.encodePacked(DATA_CODE, STOP, key);
        assembly ("memory-safe") {
            data := create(0, add(code, 32), mload(code))
        }
        require(data != address(0), BadKey());
    }
}

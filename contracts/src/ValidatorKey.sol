// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IValidatorKey} from "./interfaces/IValidatorKey.sol";
import {Bls} from "./libraries/Bls.sol";

/// @title The validators' group key
/// @dev The key lives in the code of a contract of its own: reading 256 bytes of code costs a fifth of eight
/// storage words.
contract ValidatorKey is IValidatorKey {
    /// @dev `PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN`: the code is what follows, STOP first, so
    /// that nothing happens when it is called.
    bytes10 private constant DATA_CODE = 0x61010180600a5f395ff3;
    bytes1 private constant STOP = 0x00;

    /// @inheritdoc IValidatorKey
    bytes32 public immutable VENUE;

    address private _data;
    /// @inheritdoc IValidatorKey
    uint64 public rotations;

    /// @param venue Which venue's validators.
    /// @param key EIP-2537's encoding of a point of G2.
    constructor(bytes32 venue, bytes memory key) {
        VENUE = venue;
        _store(key);
    }

    /// @inheritdoc IValidatorKey
    function isFinalized(
        uint64 epoch,
        uint64 view_,
        uint64 parentView,
        bytes32 digest,
        bytes calldata signature
    ) external view returns (bool) {
        bytes memory message = abi.encodePacked(
            _namespace("_FINALIZE"), _leb128(epoch), _leb128(view_), _leb128(parentView), digest
        );
        return Bls.verify(groupKey(), message, signature);
    }

    /// @inheritdoc IValidatorKey
    function rotate(bytes calldata key, bytes calldata signature) external {
        uint64 number = rotations + 1;
        bytes memory message = abi.encodePacked(
            _namespace("_ROTATE"), uint64(block.chainid), address(this), number, key
        );
        require(Bls.verify(groupKey(), message, signature), BadSignature());
        rotations = number;
        _store(key);
        emit KeyRotated(number, keccak256(key));
    }

    /// @inheritdoc IValidatorKey
    function groupKey() public view returns (bytes memory key) {
        address data = _data;
        key = new bytes(Bls.G2_BYTES);
        assembly ("memory-safe") {
            extcodecopy(data, add(key, 32), 1, 256)
        }
    }

    function _store(bytes memory key) private {
        require(Bls.isKey(key), BadKey());
        bytes memory code = abi.encodePacked(DATA_CODE, STOP, key);
        address data;
        assembly ("memory-safe") {
            data := create(0, add(code, 32), mload(code))
        }
        require(data != address(0), BadKey());
        _data = data;
    }

    /// @dev The namespace of one kind of message, with its length in front.
    function _namespace(string memory kind) private view returns (bytes memory) {
        bytes memory namespace = abi.encodePacked("LIFEBOAT_1_", VENUE, kind);
        return abi.encodePacked(_leb128(uint64(namespace.length)), namespace);
    }

    /// @dev Seven bits a byte, the least first; the upper bit says that more follow.
    function _leb128(uint64 value) private pure returns (bytes memory out) {
        out = new bytes(10);
        assembly ("memory-safe") {
            let next := add(out, 32)
            for {} gt(value, 0x7f) { value := shr(7, value) } {
                mstore8(next, or(value, 0x80))
                next := add(next, 1)
            }
            mstore8(next, value)
            mstore(out, sub(next, add(out, 31)))
        }
    }
}

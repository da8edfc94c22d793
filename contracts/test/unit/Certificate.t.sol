// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IValidatorKey} from "../../src/interfaces/IValidatorKey.sol";
import {Bls} from "../../src/libraries/Bls.sol";
import {vm} from "../support/Vm.sol";

/// @notice A certificate as consensus makes it, from `vectors/exit_certificate.json`.
contract CertificateTest {
    string private json = vm.readFile("../vectors/exit_certificate.json");

    function validators() private returns (IValidatorKey) {
        bytes memory arguments =
            abi.encode(vm.parseJsonBytes32(json, ".venue"), vm.parseJsonBytes(json, ".group_key"));
        return IValidatorKey(vm.deployCode("ValidatorKey.sol:ValidatorKey", arguments));
    }

    function isFinalized(IValidatorKey key, bytes memory header, uint64 later) private view returns (bool) {
        return key.isFinalized(
            uint64(vm.parseJsonUint(json, ".epoch")),
            uint64(vm.parseJsonUint(json, ".view")) + later,
            uint64(vm.parseJsonUint(json, ".parent_view")),
            keccak256(header),
            vm.parseJsonBytes(json, ".signature")
        );
    }

    function testACertificateOfConsensusIsAccepted() public {
        bytes memory header = vm.parseJsonBytes(json, ".header");
        vm.assertEq(keccak256(header), vm.parseJsonBytes32(json, ".digest"));
        vm.assertTrue(isFinalized(validators(), header, 0));
    }

    function testItIsForItsBlockAndViewOnly() public {
        bytes memory header = vm.parseJsonBytes(json, ".header");
        vm.assertFalse(isFinalized(validators(), header, 1));
        header[247] ^= 0x01;
        vm.assertFalse(isFinalized(validators(), header, 0));
    }

    bytes private constant DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_\x2b";
    bytes private constant FIELD =
        hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

    /// @notice The hash to the curve as RFC 9380 has it, step by step.
    function plainHash(bytes memory message) private view returns (bytes memory) {
        bytes32 base = sha256(abi.encodePacked(new bytes(64), message, uint16(128), uint8(0), DST));
        bytes32 digest;
        bytes[2] memory wide;
        for (uint8 i = 1; i <= 4; ++i) {
            digest = sha256(abi.encodePacked(base ^ digest, i, DST));
            wide[(i - 1) / 2] = abi.encodePacked(wide[(i - 1) / 2], digest);
        }
        return ask(address(0x0b), abi.encodePacked(image(wide[0]), image(wide[1])));
    }

    function image(bytes memory wide) private view returns (bytes memory) {
        bytes memory power = abi.encodePacked(uint256(64), uint256(1), uint256(64), wide, uint8(1), FIELD);
        return ask(address(0x10), ask(address(0x05), power));
    }

    function ask(address precompile, bytes memory question) private view returns (bytes memory) {
        (bool valid, bytes memory answer) = precompile.staticcall(question);
        vm.assertTrue(valid);
        return answer;
    }

    function testTheHashIsThePlainOne(bytes memory message) public view {
        vm.assertEq(Bls.hashToG1(message), plainHash(message));
    }
}

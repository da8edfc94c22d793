// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IValidatorKey} from "../../src/interfaces/IValidatorKey.sol";
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
}

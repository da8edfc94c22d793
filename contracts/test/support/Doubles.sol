// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Token} from "../../src/development/Token.sol";

/// @notice Keeps a hundredth of every transfer.
contract FeeToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        uint256 fee = from == address(0) ? 0 : amount / 100;
        super._update(from, to, amount - fee);
        if (fee > 0) super._update(from, address(0xfee), fee);
    }
}

/// @notice Calls back whoever receives.
contract CallingToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (to.code.length > 0) {
            (bool answered,) = to.call(abi.encodeWithSignature("received()"));
            answered;
        }
    }
}

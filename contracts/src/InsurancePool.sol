// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IInsurancePool} from "./interfaces/IInsurancePool.sol";
import {ILifeboatVault} from "./interfaces/ILifeboatVault.sol";

/// @title The insurance pool of one vault
/// @dev Virtual shares with an offset of six decimals make an inflation of the first shares cost a million
/// times what it can take.
contract InsurancePool is ERC4626, IInsurancePool {
    using SafeERC20 for IERC20;

    /// @notice From announcement to redemption. Longer than any outage runs before the vault freezes (a day),
    /// so that capital cannot leave in sight of what it insures.
    uint256 public constant NOTICE = 3 days;
    /// @notice How long an announcement is good: a standing one would be no notice.
    uint256 public constant NOTICE_VALID = 4 days;

    /// @notice Whom the pool stands behind.
    ILifeboatVault public immutable VAULT;

    struct Notice {
        uint192 shares;
        uint64 from;
    }

    /// @notice What a holder announced.
    mapping(address holder => Notice) public notices;

    constructor(IERC20 token, ILifeboatVault vault)
        ERC20("Lifeboat insurance", "lbINS")
        ERC4626(token)
    {
        VAULT = vault;
    }

    /// @inheritdoc IInsurancePool
    function announceRedemption(uint256 shares) external {
        uint256 from = block.timestamp + NOTICE;
        notices[msg.sender] =
            Notice({shares: uint192(Math.min(shares, type(uint192).max)), from: uint64(from)});
        emit RedemptionAnnounced(msg.sender, shares, from, from + NOTICE_VALID);
    }

    /// @inheritdoc IInsurancePool
    function draw(uint256 amount) external returns (uint256 sent) {
        require(msg.sender == address(VAULT), NotVault());
        sent = Math.min(amount, totalAssets());
        IERC20(asset()).safeTransfer(msg.sender, sent);
        emit Drawn(sent);
    }

    /// @notice What a holder may redeem at present: what it announced in time, and nothing in an outage.
    /// After the vault's claims are closed, everything.
    function maxRedeem(address holder) public view override(ERC4626, IERC4626) returns (uint256) {
        if (VAULT.isPoolReleased()) return balanceOf(holder);
        Notice memory notice = notices[holder];
        bool inTime = block.timestamp >= notice.from && block.timestamp < notice.from + NOTICE_VALID;
        return inTime && !VAULT.isOutage() ? Math.min(notice.shares, balanceOf(holder)) : 0;
    }

    /// @dev An announcement is used up by what is redeemed.
    function _withdraw(address caller, address receiver, address holder, uint256 assets, uint256 shares)
        internal
        override
    {
        Notice storage notice = notices[holder];
        notice.shares -= uint192(Math.min(shares, notice.shares));
        super._withdraw(caller, receiver, holder, assets, shares);
    }

    function _decimalsOffset() internal pure override returns (uint8) {
        return 6;
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";

/// @title Capital that stands behind a vault: an ERC-4626 vault whose holders bear what accounts cannot pay
/// @notice Safety assumes that the vault draws by its rules only; it can draw everything.
/// Liveness assumes that the vault's outages end, by a checkpoint or by a freeze with its claims closed: until
/// then nobody leaves the pool.
interface IInsurancePool is IERC4626 {
    /// @notice A holder means to redeem shares.
    event RedemptionAnnounced(address indexed holder, uint256 shares, uint256 from, uint256 until);
    /// @notice The vault drew on the pool.
    event Drawn(uint256 amount);

    /// @notice Only the vault may draw.
    error NotVault();

    /// @notice Announces that the caller will redeem up to `shares`; an earlier announcement is replaced.
    function announceRedemption(uint256 shares) external;

    /// @notice Sends the vault up to `amount`. Only the vault.
    function draw(uint256 amount) external returns (uint256 sent);
}

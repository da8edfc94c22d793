// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ILifeboatVault} from "../../src/interfaces/ILifeboatVault.sol";
import {ExitLadder} from "../../src/libraries/ExitLadder.sol";
import {Trees} from "../support/Trees.sol";
import {VenueTest} from "../support/VenueTest.sol";
import {vm} from "../support/Vm.sol";

/// @notice A small venue that does what venues do, in any order.
contract VenueHandler is VenueTest {
    using Trees for bytes[];

    uint256 internal constant ACCOUNTS = 4;

    int64[ACCOUNTS] internal cash;
    int64[17][ACCOUNTS] internal ladders;
    /// @notice Deposits that no checkpoint credits yet.
    uint64 internal uncredited;
    /// @notice What the vault paid for withdrawals.
    uint256 public paid;
    mapping(uint256 => bool) internal isPaid;

    constructor() {
        setUp();
        checkpoint();
    }

    function deposit(uint256 account, uint64 amount) external {
        amount = uint64(bound(amount, 1, 1_000_000e6));
        account = bound(account, 1, ACCOUNTS - 1);
        deposit(user(account), amount);
        cash[account] += int64(amount);
        uncredited += amount;
    }

    /// @dev One account buys from another what is worth this at the levels.
    function trade(uint256 buyer, uint256 seller, int48[17] calldata levels, uint48 premium) external {
        buyer = bound(buyer, 0, ACCOUNTS - 1);
        seller = bound(seller, 0, ACCOUNTS - 1);
        for (uint256 level; level < 17; ++level) {
            ladders[buyer][level] += levels[level];
            ladders[seller][level] -= levels[level];
        }
        cash[buyer] -= int64(uint64(premium));
        cash[seller] += int64(uint64(premium));
    }

    /// @dev The venue's solvency gate: no more than the account has, and no more than there is.
    function withdrawal(uint256 account, uint64 amount) external {
        account = bound(account, 1, ACCOUNTS - 1);
        int64 gate = books.depositsTotal - books.withdrawalsTotal;
        if (cash[account] < gate) gate = cash[account];
        if (gate <= 0) return;
        amount = uint64(bound(amount, 1, uint64(gate)));
        cash[account] -= int64(amount);
        certify(user(account), user(account), amount);
    }

    function checkpoint() public {
        delete leaves;
        books.accountsCash = 0;
        for (uint32 index; index < ACCOUNTS; ++index) {
            address owner = index == 0 ? address(pool) : user(index);
            bytes memory ladder = abi.encodePacked(uint8(0));
            for (uint256 level; level < 17; ++level) {
                ladder = abi.encodePacked(ladder, ladders[index][level]);
            }
            open(owner, cash[index], 0, ladder);
        }
        uncredited = 0;
        post();
    }

    function claim(uint256 number, uint256 later) external {
        if (withdrawals.length == 0) return;
        checkpoint();
        number = bound(number, 0, withdrawals.length - 1);
        vm.warp(now_() + bound(later, 0, 11 hours));
        if (isPaid[number]) return;
        uint256 before = token.balanceOf(address(vault));
        try this.withdrawOne(uint32(number)) {
            uint256 amount = before - token.balanceOf(address(vault));
            isPaid[number] = amount > 0;
            paid += amount;
        } catch (bytes memory why) {
            // Its turn has not come; nothing else is an excuse.
            vm.assertEq(bytes32(bytes4(why)), bytes32(ILifeboatVault.TooEarly.selector));
        }
    }

    function withdrawOne(uint32 number) external {
        withdraw(number);
    }

    // ------------------------------------------------------------------------------------- what must hold

    /// @dev I1: the vault has what it owes to accounts, to withdrawals and to uncredited deposits.
    function checkConservation() external view {
        (,,,, bool ended) = vault.flow();
        vm.assertTrue(ended == (vault.stage() != ILifeboatVault.Stage.Live));
        int256 owed;
        for (uint256 index; index < ACCOUNTS; ++index) owed += cash[index];
        uint256 outstanding = uint256(int256(books.withdrawalsTotal)) - paid;
        vm.assertEq(int256(token.balanceOf(address(vault))), owed + int256(outstanding));
    }

    /// @dev The venue ends, at some price: whatever is owed is paid, in its order, and less than a unit an
    /// account is left over what nobody claimed.
    function endOfLife() external {
        uint256 price = bound(uint256(keccak256(abi.encode(cash, ladders))), 2_000e6, 1_000_000e6);
        bool nobodyOwes = true;
        uint128[] memory points = new uint128[](1);
        points[0] = ExitLadder.point(BTC_STEP, price);
        checkpoint();
        for (uint256 index; index < ACCOUNTS; ++index) {
            nobodyOwes = nobodyOwes && this.valueOf(leaves[index], points) >= 0;
        }
        books.safeLow[0] = nobodyOwes ? int64(int256(price)) : int64(1);
        books.safeHigh[0] = nobodyOwes ? int64(int256(price)) : int64(0);
        checkpoint();
        freezeAt(price, 3_000e6);
        for (uint32 number; number < withdrawals.length; ++number) {
            if (!isPaid[number]) withdraw(number);
        }
        for (uint32 index = 1; index < ACCOUNTS; ++index) exit(index);
        uint256 leftover;
        if (nobodyOwes) {
            exit(0);
        } else {
            vm.warp(now_() + 7 days);
            vault.closeClaims();
            for (uint32 index = 1; index < ACCOUNTS; ++index) {
                (, uint96 value) = vault.claims(index);
                if (value > 0) vault.payClaim(index);
            }
            (, leftover) = vault.shares();
        }
        vm.assertLt(token.balanceOf(address(vault)) - leftover, ACCOUNTS);
    }

    function valueOf(bytes calldata leaf_, uint128[] calldata points) external pure returns (int256) {
        return ExitLadder.value(leaf_, points);
    }
}

/// @notice I1 and I6 over random lives of a vault.
contract ConservationInvariantTest {
    VenueHandler private handler;

    function setUp() public {
        handler = new VenueHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](5);
        selectors[0] = bytes4(keccak256("deposit(uint256,uint64)"));
        selectors[1] = handler.trade.selector;
        selectors[2] = handler.withdrawal.selector;
        selectors[3] = handler.checkpoint.selector;
        selectors[4] = handler.claim.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function afterInvariant() public {
        handler.endOfLife();
    }

    function invariant_I1_theVaultHoldsWhatItOwes() public view {
        handler.checkConservation();
    }
}

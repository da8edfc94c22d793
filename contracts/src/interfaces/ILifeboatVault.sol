// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {QuadTree} from "../libraries/QuadTree.sol";

/// @title A vault that holds users' collateral and lets everyone leave without the venue
///
/// @notice Safety, that nobody is paid what is another's, assumes
/// - of the validators, that no quorum of them signs a false state: their threshold signature decides who
///   owns what, up to the last checkpoint and no further;
/// - of the price feeds, that what they answer inside their bounds and age at the freeze is the market's
///   price: it moves value between accounts with open options, and never more than the vault holds;
/// - of the token, that it moves what it is asked to. One that takes a fee or calls back is refused or
///   harmless; one that can freeze balances can freeze this one.
///
/// @notice Liveness, that everyone gets out, assumes
/// - that the chain runs and takes transactions of anyone;
/// - that somebody kept the last checkpoint's leaves (they follow from the published blocks) or the one proof
///   that is needed. The summary is in the calldata of the checkpoint's own transaction.
/// It assumes nothing of the operator, of the validators after their last checkpoint, of the guardian, of the
/// price feeds (a dead one is replaced by the certified mark), or of the insurance pool.
///
/// @notice What a frozen vault owes, in this order: deposits that no checkpoint credited, back to their
/// owners; certified withdrawals; what crystallised accounts were bought for; then exits. Each rank is
/// reserved before the next is paid.
interface ILifeboatVault {
    /// @notice Where a vault is in its life. It only moves forward.
    /// @param Live Checkpoints, deposits, withdrawals.
    /// @param Frozen No more checkpoints; prices are not fixed yet. Refunds and withdrawals.
    /// @param Open Prices are fixed inside the safe range: exits are paid in full at once.
    /// @param Claims Prices are fixed outside of it: exits are noted until the window closes.
    /// @param Shared The window is closed: noted exits are paid, in full or by their share.
    enum Stage {
        Live,
        Frozen,
        Open,
        Claims,
        Shared
    }

    /// @notice A deposit was taken: its number, and the hash over all deposits up to it.
    event Deposited(uint64 indexed number, address indexed owner, uint64 amount, bytes32 hash);
    /// @notice A checkpoint was accepted.
    event CheckpointAccepted(
        uint24 indexed number, uint64 height, uint64 epoch, uint64 executed, bytes32 summaryDigest
    );
    /// @notice A withdrawal was paid.
    event Withdrawn(uint32 indexed number, address indexed recipient, uint64 amount);
    /// @notice A withdrawal is over what may leave at present, and is payable from then on.
    event WithdrawalQueued(uint32 indexed number, uint256 payableFrom);
    /// @notice An owner asks for a withdrawal on chain; the venue has a day to answer.
    event WithdrawalForced(uint64 indexed number, address indexed owner, uint64 amount, address recipient);
    /// @notice An account was bought by the insurance pool at its value.
    event Crystallised(uint64 indexed number, uint32 indexed index, uint64 paid, uint24 checkpoint);
    /// @notice What was paid for crystallised accounts went back to the pool: a later checkpoint came.
    event CrystallisationsLapsed(uint24 indexed checkpoint, uint64 amount);
    /// @notice No checkpoint will be accepted any more.
    event VaultFrozen(uint24 indexed checkpoint, bool forcedIgnored);
    /// @notice Prices were fixed, and with them what each account is worth.
    event PricesFixed(Stage stage, uint256[] prices);
    /// @notice A deposit that was never credited went back.
    event DepositRefunded(uint64 indexed number, address indexed owner, uint64 amount);
    /// @notice An exit was paid.
    event Exited(uint32 indexed index, address indexed recipient, uint256 amount);
    /// @notice An exit was noted, to be paid once the window closes.
    event ExitClaimed(uint32 indexed index, address indexed recipient, uint256 value);
    /// @notice What was nobody else's went to the insurance pool.
    event Swept(uint256 amount);
    /// @notice The window closed: noted exits, and what there is for them.
    event ClaimsClosed(uint256 claimed, uint256 available);

    /// @notice The vault is past the stage in which this may be done.
    error WrongStage(Stage stage);
    /// @notice It may be done from that time on.
    error TooEarly(uint256 from);
    /// @notice An amount of nothing, or more than a deposit may be.
    error AmountOutOfRange();
    /// @notice The token moved another amount than it was asked to.
    error TokenTakesFee();
    /// @notice The header or summary is another venue's, chain's or vault's.
    error WrongDeployment();
    /// @notice The checkpoint is not above the last one in height and executed height, or below in epoch.
    error NotNewer();
    /// @notice The certificate is not the validators' over this.
    error BadSignature();
    /// @notice The summary is not under the header's exit root.
    error NotUnderExitRoot();
    /// @notice The summary's totals do not add up, or are more than was deposited.
    error TotalsDoNotBalance();
    /// @notice The summary credits other deposits than this vault took.
    error DepositsUnknown();
    /// @notice The summary is not the last accepted one.
    error NotTheCheckpoint();
    /// @notice The proof does not lead to the root.
    error NotIncluded();
    /// @notice It was paid or claimed before.
    error AlreadyClaimed();
    /// @notice What it is paid from is reserved for somebody who comes first.
    error Reserved();
    /// @notice Neither the owner's own address, nor signed by the owner.
    error NotOwners();
    /// @notice There is nothing to pay.
    error NothingToClaim();
    /// @notice The account is not under its critical value.
    error NotCritical();
    /// @notice The feed has no price that may be used.
    error NoPrice(uint256 underlying);
    /// @notice The venue answered the request, or it is unknown.
    error NotIgnored();
    /// @notice The number of feeds, or a feed's bounds, cannot work.
    error BadFeed();

    /// @notice Takes `amount` of the token for the account of `owner`. The venue credits it after finality.
    function deposit(address owner, uint64 amount) external returns (uint64 number);

    /// @notice Accepts a checkpoint from anyone who has one.
    /// @param header The block header that the certificate signs.
    /// @param summary This vault's exit summary.
    /// @param before_ Digests of other chains' summaries before this one, and `after_` of those after it.
    /// @param signature The certificate's signature, uncompressed.
    function checkpoint(
        bytes calldata header,
        bytes calldata summary,
        bytes calldata before_,
        bytes calldata after_,
        bytes calldata signature
    ) external;

    /// @notice Pays a certified withdrawal to its recipient, at once or, over the limit, after a wait; call
    /// again after it.
    /// @param slot Which checkpoint's withdrawals root the path leads to: its number, one of the last 1024.
    /// @param summaryDigest That checkpoint's, from its event `CheckpointAccepted`.
    function withdraw(
        bytes calldata leaf,
        QuadTree.Path calldata path,
        uint24 slot,
        bytes32 summaryDigest
    ) external;

    /// @notice Asks the venue, on chain, to pay the caller's account out. Ignored for a day, anyone may freeze.
    function forceWithdrawal(uint64 amount, address recipient) external returns (uint64 number);

    /// @notice During an outage: the insurance pool buys an account that is under its critical value at the
    /// feeds' prices. Holds until the next checkpoint, which says what became of it.
    function crystallise(bytes calldata summary, bytes calldata leaf, QuadTree.Path calldata path) external;

    /// @notice Gives the pool back what it paid under a checkpoint that is not the last one any more.
    function releaseLapsed(uint24 number) external;

    /// @notice Freezes when no checkpoint came for `FREEZE_DELAY`. `summary` is the last checkpoint's, empty if
    /// there was none.
    function freeze(bytes calldata summary) external;

    /// @notice Freezes when the venue left request `number` unanswered for `FORCED_DELAY`.
    function freezeIgnored(bytes calldata summary, uint64 number) external;

    /// @notice Fixes the prices of a frozen vault: the feeds' if each has one that may be used, and the
    /// certified mark for one that had none for `FEED_GRACE`.
    function fixPrices(bytes calldata summary) external;

    /// @notice Returns a deposit that the last checkpoint had not credited.
    /// @param previous The hash over the deposits before it.
    function refund(uint64 number, address owner, uint64 amount, bytes32 previous) external;

    /// @notice Pays, or notes, an account's exit. Anyone may push it to the owner; another recipient needs the
    /// owner as the caller or the owner's signature (EIP-712 `Exit(uint32 index,address recipient)`).
    function exit(
        bytes calldata leaf,
        QuadTree.Path calldata path,
        address recipient,
        bytes calldata signature
    ) external;

    /// @notice Closes the window of claims and draws on the insurance pool for what is short.
    function closeClaims() external;

    /// @notice Pays a noted exit.
    function payClaim(uint32 index) external;

    /// @notice Sends the insurance pool what is nobody else's: once every account has left, or a quarter after
    /// the window of claims closed.
    function sweep() external;

    /// @notice Where the vault is in its life.
    function stage() external view returns (Stage);

    /// @notice Whether no checkpoint came for `OUTAGE_DELAY`, or the vault is frozen.
    function isOutage() external view returns (bool);

    /// @notice Whether the insurance pool can be drawn on no more.
    function isPoolReleased() external view returns (bool);
}

//! Every bound of the engine in one place. Queues, loops and tables stop here.

/// Accounts that the venue can hold.
pub const ACCOUNTS_MAX: u32 = 1 << 26;
/// Instruments ever listed (ids are not reused). One less than a power of two: no id has all bits
/// set, which marks empty entries of tables.
pub const INSTRUMENTS_MAX: u32 = (1 << 20) - 1;
/// Underlyings.
pub const UNDERLYINGS_MAX: usize = 16;
/// Validators.
pub const VALIDATORS_MAX: usize = 128;
/// Live resting orders over all books.
pub const ORDERS_MAX: u32 = 1 << 26;
/// Open orders and quotes of one account.
pub const ORDERS_PER_ACCOUNT_MAX: u32 = 10_000;
/// Instruments in which one account may hold positions or orders at once.
pub const HOLDINGS_PER_ACCOUNT_MAX: usize = 4_096;
/// Session keys of one account.
pub const SESSIONS_PER_ACCOUNT_MAX: usize = 16;
/// Session keys that one account may ever remove.
pub const RETIRED_KEYS_MAX: usize = 1_024;
/// Entries in one mass quote.
pub const QUOTES_PER_COMMAND_MAX: usize = 256;
/// Commands in one block.
pub const COMMANDS_PER_BLOCK_MAX: usize = 16_384;
/// Bytes of commands in one block.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Bytes of one encoded command.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;
/// Largest price in ticks.
pub const PRICE_TICKS_MAX: u32 = 1 << 30;
/// Largest size of one order in lots.
pub const ORDER_LOTS_MAX: u32 = 1 << 26;
/// Largest position in one instrument in lots, either way.
pub const POSITION_LOTS_MAX: i64 = 1 << 31;
/// Bytes of an order's label.
pub const LABEL_BYTES_MAX: usize = 64;
/// Price sources of one underlying.
pub const SOURCES_MAX: usize = 16;
/// Forward prices in one observation.
pub const FORWARDS_MAX: usize = 64;
/// Commands on the quarantine list.
pub const QUARANTINE_MAX: usize = 64;
/// Client order ids that an account's idempotency window remembers after the order ended.
pub const CLIENT_IDS_REMEMBERED: usize = 256;
/// Nonces below the highest one that may still be used once (reordering on the way).
pub const NONCE_WINDOW: u64 = 128;
/// Vaults that hold the venue's collateral. Cash is not allotted to several yet.
pub const VAULTS_MAX: usize = 1;
/// Events of a vault in one proposal; that many of the longest fit a command.
pub const VAULT_EVENTS_MAX: usize = 256;
/// Sealed orders that one block opens: each costs a pairing, about a millisecond.
pub const SEALS_OPENED_PER_BLOCK_MAX: usize = 64;
/// Accounts whose gains one loss is spread over; those with the largest.
pub const HAIRCUT_ACCOUNTS_MAX: usize = 4_096;
/// Blocks within which exits are computed and carried by a header.
pub const EXIT_BLOCKS_MAX: u64 = 1 << 20;

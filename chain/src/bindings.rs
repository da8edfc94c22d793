//! The contracts, typed from the artifacts that are checked in.
#![allow(missing_docs)]

/// The vault.
pub mod vault {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        LifeboatVault,
        "../contracts/artifacts/LifeboatVault.json"
    );
}
/// The validators' key.
pub mod key {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        ValidatorKey,
        "../contracts/artifacts/ValidatorKey.json"
    );
}
/// The insurance pool.
pub mod pool {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        InsurancePool,
        "../contracts/artifacts/InsurancePool.json"
    );
}
/// A token for development chains.
pub mod token {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        Token,
        "../contracts/artifacts/Token.json"
    );
}
/// A price feed for development chains.
pub mod feed {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        PriceFeed,
        "../contracts/artifacts/PriceFeed.json"
    );
}

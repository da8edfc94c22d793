//! The servers that tests run against: an S3 server from PyPI, and the Ethereum node that comes with the
//! contracts' toolchain from npm.

use anyhow::Result;

use crate::{contracts, python};

/// What the S3 server needs, with versions.
const REQUIREMENTS: &str = "da/tests/tools/requirements.txt";

/// Installs both; quick when they are there already.
///
/// # Errors
/// When python or npm is absent, or their registries cannot be reached.
pub fn install() -> Result<()> {
    python::install_packages(REQUIREMENTS)?;
    contracts::install()
}

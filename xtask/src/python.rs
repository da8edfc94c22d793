//! The virtual environment with the third-party client that the gateway is tested against.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::{answers, must};

/// The client's version: the one the recorded calls in the API notes were taken from, or later
/// within the same minor version.
const CCXT: &str = "ccxt>=4.5,<4.6";

/// The folder of the environment, inside the build folder so that a clean removes it.
fn folder() -> PathBuf {
    crate::tasks::target().join("venv")
}

/// The environment's interpreter.
pub fn interpreter() -> PathBuf {
    folder().join("bin").join("python")
}

/// Creates the environment and installs ccxt into it, unless both are there.
///
/// # Errors
/// When python is absent or the package registry cannot be reached.
pub fn install() -> Result<()> {
    let python = interpreter();
    if answers(&python.to_string_lossy(), &["-c", "import ccxt.pro"]) {
        return Ok(());
    }
    if !answers("python3", &["-c", "import venv, ensurepip"]) {
        bail!("python3 with venv is needed by the client test; install python3-venv and run again");
    }
    must(Command::new("python3").args(["-m", "venv"]).arg(folder()))?;
    must(Command::new(python).args(["-m", "pip", "install", "--quiet", CCXT]))
}

//! The virtual environment with the third-party client that the gateway is tested against.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::{answers, must};

/// What the client test needs, with versions.
const REQUIREMENTS: &str = "gateway/tests/ccxt/requirements.txt";

/// The folder of the environment, inside the build folder so that a clean removes it.
fn folder() -> PathBuf {
    crate::tasks::target().join("venv")
}

/// The environment's interpreter.
pub fn interpreter() -> PathBuf {
    folder().join("bin").join("python")
}

/// Creates the environment and installs the client into it; quick when it is there already.
///
/// # Errors
/// When python is absent or the package registry cannot be reached.
pub fn install() -> Result<()> {
    install_packages(REQUIREMENTS)
}

/// Creates the environment and installs what a file of requirements names.
///
/// # Errors
/// When python is absent or the package registry cannot be reached.
pub fn install_packages(requirements: &str) -> Result<()> {
    if !answers("python3", &["-c", "import venv, ensurepip"]) {
        bail!("python3 with venv is needed by the client test; install python3-venv and run again");
    }
    let python = interpreter();
    if !python.exists() {
        must(Command::new("python3").args(["-m", "venv"]).arg(folder()))?;
    }
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        requirements,
    ];
    must(Command::new(python).args(pip))
}

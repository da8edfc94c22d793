//! A real node on loopback, for live drills: anvil, which `cargo xtask setup` installs from npm.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The first of the accounts that anvil gives money to; everybody knows its key.
pub const FUNDED_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Time for the node to say where it listens.
const START: Duration = Duration::from_secs(120);
const ANNOUNCEMENT: &str = "Listening on 127.0.0.1:";

/// A node, stopped when dropped.
pub struct Anvil {
    child: Child,
    /// Its JSON-RPC.
    pub url: String,
}

impl Anvil {
    /// Starts one on a free port; `None` when it is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(arguments: &[&str]) -> io::Result<Option<Self>> {
        let Some(program) = find() else {
            return Ok(None);
        };
        let mut child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0", "--hardfork", "osaka"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (found, port) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            // Reads on to the end, so that the node never waits for a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, port)) = line.split_once(ANNOUNCEMENT) {
                        let _ = found.send(port.trim().to_owned());
                    }
                }
            });
        }
        let mut node = Self {
            child,
            url: String::new(),
        };
        let port = port.recv_timeout(START).map_err(io::Error::other)?;
        node.url = format!("http://127.0.0.1:{port}");
        Ok(Some(node))
    }

    /// Halts the process as it stands: calls are not answered any more.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn halt(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    /// Lets a halted process go on.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        let id = self.child.id();
        // What npm links to starts the node as a child: both are meant.
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let status = Command::new("kill")
            .arg(signal)
            .arg(id.to_string())
            .args(children.split_whitespace())
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other("the signal was not sent")),
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.signal("-KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `LIFEBOAT_ANVIL`, or what npm installed in a folder above this program or the working directory.
fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LIFEBOAT_ANVIL") {
        return Some(named.into());
    }
    let starts = [std::env::current_dir(), std::env::current_exe()];
    let starts: Vec<PathBuf> = starts.into_iter().flatten().collect();
    let mut above = starts.iter().flat_map(|start| start.ancestors());
    above.find_map(installed)
}

fn installed(folder: &Path) -> Option<PathBuf> {
    let packages = folder.join("contracts/node_modules/@foundry-rs");
    let folders = std::fs::read_dir(packages).ok()?.flatten();
    let mut programs = folders.map(|folder| folder.path().join("bin/anvil"));
    programs.find(|program| program.is_file())
}

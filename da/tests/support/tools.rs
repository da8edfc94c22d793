//! Servers that a test starts: an S3 server and an Ethereum node, each on a free port of loopback.
//!
//! `cargo xtask setup` installs them: the first into the build folder, the second with the contracts'
//! toolchain. Where they are not, a test says so and
//! ends; with `LIFEBOAT_TOOLS=required`, as `cargo xtask test` sets it, that is a failure.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Time for a server to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A server, stopped when dropped.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    fn start(mut command: Command, announcement: &'static str) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.stdin(Stdio::null()).spawn().unwrap();
        let (found, port) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for output in outputs {
            let found = found.clone();
            // Reads on to the end, so that the server never waits for a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, port)) = line.split_once(announcement) {
                        let _ = found.send(port.trim().to_owned());
                    }
                }
            });
        }
        let port = port.recv_timeout(START_TIMEOUT);
        let mut server = Self {
            child,
            url: String::new(),
        };
        server.url = format!(
            "http://127.0.0.1:{}",
            port.expect("the server says its port")
        );
        server
    }

    /// Stops it and starts nothing in its place.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The build folder, which the test binary lies in: `TARGET/PROFILE/deps/TEST`.
fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_owned()
}

fn absent(tool: &str) {
    let message = format!("{tool} is not installed; `cargo xtask setup` installs it");
    assert!(
        std::env::var_os("LIFEBOAT_TOOLS").is_none_or(|how| how != "required"),
        "{message}"
    );
    println!("skipped: {message}");
}

/// An S3 server with nothing in it.
pub fn s3_server() -> Option<Server> {
    let python = target().join("venv/bin/python");
    let has = |python: &Path| {
        let mut import = Command::new(python);
        let import = import.args(["-c", "import moto.server, flask_cors"]);
        let quiet = import.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    if !has(&python) {
        absent("moto");
        return None;
    }
    let mut command = Command::new(python);
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
    Some(Server::start(command, "Running on http://127.0.0.1:"))
}

/// An Ethereum node of its own chain, with funded accounts.
pub fn ethereum_node(arguments: &[&str]) -> Option<Server> {
    let packages = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../contracts/node_modules/@foundry-rs"
    );
    let folders = std::fs::read_dir(packages).into_iter().flatten().flatten();
    let mut binaries = folders.map(|folder| folder.path().join("bin/anvil"));
    let Some(binary) = binaries.find(|binary| binary.is_file()) else {
        absent("anvil");
        return None;
    };
    let mut command = Command::new(binary);
    command.args(["--host", "127.0.0.1", "--port", "0"]);
    command.args(arguments);
    Some(Server::start(command, "Listening on 127.0.0.1:"))
}

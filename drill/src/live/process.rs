//! One validator as a process of its own.
//!
//! **Owns** the child: it is killed by its own id when dropped. What it prints goes to a file.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use thiserror::Error;

/// Why a process could not be started or signalled.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The program cannot be started.
    #[error("cannot start {program}: {error}")]
    Start {
        /// Which program.
        program: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file for what it prints cannot be opened.
    #[error("cannot open {path}: {error}")]
    Log {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It does not take a signal.
    #[error("cannot signal process {id}: {error}")]
    Signal {
        /// The process's id.
        id: u32,
        /// What the system said.
        error: io::Error,
    },
}

/// A running `lifeboat node`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stopped: bool,
}

impl Process {
    /// Starts `binary node --config FILE` with `environment` added to this process's own; what it
    /// prints is appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn start(
        binary: &Path,
        config: &Path,
        log: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self, ProcessError> {
        let open = || -> io::Result<(File, File)> {
            let file = OpenOptions::new().create(true).append(true).open(log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(|error| ProcessError::Log {
            path: log.to_owned(),
            error,
        })?;
        let child = Command::new(binary)
            .arg("node")
            .arg("--config")
            .arg(config)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| ProcessError::Start {
                program: binary.to_owned(),
                error,
            })?;
        Ok(Self {
            child,
            stopped: false,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs (a stopped one does).
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with SIGKILL and reaps it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        let id = self.id();
        let signal = |error| ProcessError::Signal { id, error };
        self.child.kill().map_err(signal)?;
        self.child.wait().map(drop).map_err(signal)
    }

    /// Halts it with SIGSTOP: it keeps memory and sockets and does nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self) -> Result<(), ProcessError> {
        self.signal("STOP")?;
        self.stopped = true;
        Ok(())
    }

    /// Lets it go on with SIGCONT.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn resume(&mut self) -> Result<(), ProcessError> {
        self.signal("CONT")?;
        self.stopped = false;
        Ok(())
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn ask_to_end(&mut self) -> Result<(), ProcessError> {
        if self.is_running() {
            self.signal("TERM")?;
        }
        Ok(())
    }

    /// Whether it is stopped.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Asks the shell, which every Unix has, so that no system call needs unsafe code here.
    fn signal(&self, signal: &str) -> Result<(), ProcessError> {
        let id = self.id();
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{signal} {id}"))
            .status();
        let refused = |error: io::Error| ProcessError::Signal { id, error };
        match status.map_err(refused)?.success() {
            true => Ok(()),
            false => Err(refused(io::ErrorKind::NotFound.into())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell of anything worse.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

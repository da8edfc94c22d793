//! A running venue for the third-party client's test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Seconds after which the venue stops by itself, should this process be killed.
const LIFETIME_S: &str = "600";

/// A venue of the built binary, stopped when dropped.
pub struct Venue {
    child: Child,
    /// Its gateway.
    pub url: String,
    /// An API key that may trade.
    pub key: String,
    /// The key's secret.
    pub secret: String,
}

impl Venue {
    /// Starts a venue in an empty folder and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it cannot be started or ends before it is ready.
    pub fn start(binary: &Path, data: &Path) -> Result<Self> {
        if data.exists() {
            std::fs::remove_dir_all(data).context("emptying the test venue's folder")?;
        }
        let mut command = Command::new(binary);
        command.args([
            "run",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--stop-after",
            LIFETIME_S,
        ]);
        command
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let output = child.stdout.take().context("the venue has no output")?;
        let mut ready = String::new();
        BufReader::new(output).read_line(&mut ready)?;
        let field = |name| text_field(&ready, name).map(str::to_owned);
        let fields = (field("url"), field("client_id"), field("client_secret"));
        match fields {
            (Some(url), Some(key), Some(secret)) => Ok(Self {
                child,
                url,
                key,
                secret,
            }),
            _ => {
                // It ended, or is of no use: either way it must not stay.
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("the venue did not become ready; it said: {ready:?}")
            }
        }
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a text field in a flat JSON object without escapes.
fn text_field<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = object.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::text_field;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let ready = r#"{"client_id":"abc","ready":true,"url":"http://127.0.0.1:1"}"#;
        assert_eq!(text_field(ready, "client_id"), Some("abc"));
        assert_eq!(text_field(ready, "url"), Some("http://127.0.0.1:1"));
        assert_eq!(text_field(ready, "id"), None);
        assert_eq!(text_field("", "url"), None);
    }
}

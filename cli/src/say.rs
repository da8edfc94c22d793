//! What a command says: sentences for a person, one JSON object for a program.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Prints sentences to standard output, or to standard error where that is for JSON.
#[derive(Clone, Copy, Debug)]
pub struct Say {
    json: bool,
}

impl Say {
    /// For a person, or with `json` for a program.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line for a person.
    pub fn line(self, text: impl AsRef<str>) {
        if self.json {
            eprintln!("{}", text.as_ref());
        } else {
            println!("{}", text.as_ref());
        }
    }

    /// The object for a program; nothing when nobody asked for it.
    pub fn object(self, value: &impl Serialize) {
        if self.json
            && let Ok(text) = serde_json::to_string(value)
        {
            println!("{text}");
        }
    }

    /// A bar on standard error; hidden where that is no terminal.
    pub fn bar(self, length: u64, what: &'static str) -> ProgressBar {
        let template = "{msg} {wide_bar} {percent}% {eta} left";
        let bar = ProgressBar::new(length).with_message(what);
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

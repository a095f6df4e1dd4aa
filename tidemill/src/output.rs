//! What people see: colours on a terminal, errors that say what to do.

use std::{io::IsTerminal, process::ExitCode};

/// Prints an error with its causes and gives the exit code.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("{} {error}", paint("31;1", "error:"));
    for cause in error.chain().skip(1) {
        eprintln!("  because {cause}");
    }
    ExitCode::FAILURE
}

/// Text in a colour (an SGR code), where standard output is a terminal.
pub fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_string()
    }
}

pub fn bold(text: &str) -> String {
    paint("1", text)
}

pub fn dim(text: &str) -> String {
    paint("2", text)
}

pub fn green(text: &str) -> String {
    paint("32", text)
}

//! stdout is the result and nothing else; everything for people goes to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes the result. A reader that has seen enough, such as `head`, is no error.
pub fn result(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(anyhow::anyhow!(
            "the result cannot be written to standard output: {error}"
        )),
        _ => Ok(()),
    }
}

/// Something that went wrong: what, where, what to do.
pub fn error(message: impl Display) {
    line("error", message);
}

/// Something that will go wrong.
pub fn warning(message: impl Display) {
    line("warning", message);
}

/// Something that one should know about the result.
pub fn note(message: impl Display) {
    line("note", message);
}

fn line(kind: &str, message: impl Display) {
    // If stderr is closed, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{kind}: {message}");
}

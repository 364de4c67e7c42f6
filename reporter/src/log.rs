//! The log, in the format of klog, which the Go project's reporter logs with: severity, date, time,
//! process, place, and the message.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The number of `-v`.
static VERBOSITY: AtomicU8 = AtomicU8::new(0);
static HEADERS: AtomicBool = AtomicBool::new(true);

/// Takes over what the command line says.
pub fn set(verbosity: u8, headers: bool) {
    VERBOSITY.store(verbosity, Ordering::Relaxed);
    HEADERS.store(headers, Ordering::Relaxed);
}

/// Is this level of detail wanted?
pub fn is_on(level: u8) -> bool {
    VERBOSITY.load(Ordering::Relaxed) >= level
}

/// Writes a line to standard error.
pub fn line(severity: char, file: &str, number: u32, message: Arguments<'_>) {
    let mut text = String::new();
    if HEADERS.load(Ordering::Relaxed) {
        let now = Timestamp::now().to_zoned(TimeZone::UTC);
        let file = file.rsplit('/').next().unwrap_or(file);
        text = format!(
            "{severity}{:02}{:02} {:02}:{:02}:{:02}.{:06} {:7} {file}:{number}] ",
            now.month(),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            now.subsec_nanosecond() / 1000,
            std::process::id(),
        );
    }
    // What comes from outside may have lines of its own.
    for character in message.to_string().chars() {
        match character {
            '\n' => text.push_str("\\n"),
            character if character.is_control() => text.push(' '),
            character => text.push(character),
        }
    }
    text.push('\n');
    // There is nowhere to say that the log cannot be written.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Something that an operator wants to know once.
macro_rules! info {
    ($($message:tt)*) => { $crate::log::line('I', file!(), line!(), format_args!($($message)*)) };
}

/// Something that does not work at the moment.
macro_rules! warning {
    ($($message:tt)*) => { $crate::log::line('W', file!(), line!(), format_args!($($message)*)) };
}

/// Something that ends the program, or that it cannot do.
macro_rules! error {
    ($($message:tt)*) => { $crate::log::line('E', file!(), line!(), format_args!($($message)*)) };
}

/// What only `-v` shows.
macro_rules! detail {
    ($level:expr, $($message:tt)*) => {
        if $crate::log::is_on($level) {
            $crate::log::line('I', file!(), line!(), format_args!($($message)*));
        }
    };
}

pub(crate) use {detail, error, info, warning};

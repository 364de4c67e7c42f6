//! Sizes as people write them.

use std::fmt;

/// A number of bytes: whole pages of memory in MiB, anything else in the largest unit that it is a whole number
/// of.
pub(crate) struct Size(u64);

impl Size {
    pub(crate) fn of(bytes: usize) -> Self {
        Self(bytes as u64)
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        const PAGE: u64 = 1 << 16;
        match self.0 {
            bytes if bytes >= MIB && bytes % PAGE == 0 => {
                // Exact: a page is a sixteenth of a MiB.
                let fraction = format!("{:04}", bytes % MIB / PAGE * 625);
                let number = format!("{}.{fraction}", bytes / MIB);
                let number = number.trim_end_matches('0').trim_end_matches('.');
                write!(f, "{number} MiB")
            }
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_exactly() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1 << 10, "1 KiB"),
            (1 << 16, "64 KiB"),
            (17 << 16, "1.0625 MiB"),
            (3000 << 16, "187.5 MiB"),
            (100 << 20, "100 MiB"),
            (128 << 20, "128 MiB"),
            ((128 << 20) + 1, "134217729 bytes"),
        ] {
            assert_eq!(Size::of(bytes).to_string(), text);
        }
    }
}

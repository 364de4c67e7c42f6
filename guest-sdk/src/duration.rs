//! Durations in parameters.

/// Milliseconds of a duration in the format of GEP-2257, which the Gateway API has for its time-outs: one to four
/// whole numbers of at most five digits, each with its unit `h`, `m`, `s` or `ms`. A part of Go's format that cannot
/// overflow. None: it is not one.
///
/// ```
/// assert_eq!(guest_sdk::milliseconds("1h30m"), Some(5_400_000));
/// assert_eq!(guest_sdk::milliseconds("30"), None);
/// ```
#[inline(never)]
pub fn milliseconds(mut text: &str) -> Option<u64> {
    let mut total = 0;
    for _ in 0..4 {
        let mut number = 0;
        let mut digits = 0;
        for byte in text.bytes().take_while(u8::is_ascii_digit) {
            number = number * 10 + u64::from(byte - b'0');
            digits += 1;
            if digits > 5 {
                return None;
            }
        }
        let unit = text.get(digits..).filter(|_| digits > 0)?;
        let (factor, rest) = if let Some(rest) = unit.strip_prefix("ms") {
            (1, rest)
        } else if let Some(rest) = unit.strip_prefix('s') {
            (1_000, rest)
        } else if let Some(rest) = unit.strip_prefix('m') {
            (60_000, rest)
        } else {
            (3_600_000, unit.strip_prefix('h')?)
        };
        total += number * factor;
        if rest.is_empty() {
            return Some(total);
        }
        text = rest;
    }
    None
}

//! Durations as Go writes them: `5s`, `1m30s`, `250ms`.

use std::time::Duration;

/// Nanoseconds of each unit. Go has two spellings of the letter in front of `s`.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration that is longer than nothing.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut nanoseconds = 0;
    if rest.is_empty() {
        return Err("it is no duration");
    }
    // The one number that needs no unit.
    if rest == "0" {
        rest = "";
    }
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        nanoseconds += part;
        // As in Go, which counts in 63 bits.
        if nanoseconds > i64::MAX as u128 {
            return Err("it is too long");
        }
        rest = after;
    }
    if negative || nanoseconds == 0 {
        return Err("it is not longer than 0");
    }
    u64::try_from(nanoseconds)
        .map(Duration::from_nanos)
        .map_err(|_| "it is too long")
}

/// The first number with its unit, in nanoseconds, and what follows.
fn part(text: &str) -> Result<(u128, &str), &'static str> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err("it is no duration");
    }
    let ends = |character: char| character.is_ascii_digit() || character == '.';
    let (unit, rest) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    let (_, unit) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or("it needs a unit: ns, us, ms, s, m or h")?;
    let whole: u128 = match whole {
        "" => 0,
        whole => whole.parse().map_err(|_| "it is too long")?,
    };
    let mut sum = whole.checked_mul(*unit).ok_or("it is too long")?;
    let mut place = *unit;
    for digit in fraction.bytes() {
        // What is below a nanosecond is cut off.
        place /= 10;
        sum += u128::from(digit - b'0') * place;
    }
    Ok((sum, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("250ms", 250_000_000),
            ("1h", 3_600_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5s", 5_000_000_000),
            ("1s1s", 2_000_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("3μs", 3_000),
            ("1ns", 1),
            ("1.000000001s", 1_000_000_001),
            ("0h1s", 1_000_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            let expected = Duration::from_nanos(nanoseconds);
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_go_does_not_read_and_what_is_not_longer_than_nothing() {
        for text in [
            "", "+", "-", "s", "5", "5 s", " 5s", "5s ", "5x", "1.2.3s", ".s", "--5s", "1d", "5S",
            "s5", "0x5s", "5s,",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["0", "0s", "-0", "-5s", "+0", "0.1ns"] {
            assert_eq!(parse(text), Err("it is not longer than 0"), "{text}");
        }
        for text in [
            "9223372036854775808ns",
            "2562048h",
            "99999999999999999999999999999999999999999999s",
        ] {
            assert_eq!(parse(text), Err("it is too long"), "{text}");
        }
    }
}

//! Instants in an expression.

/// Milliseconds since 1970 of an instant as the API writes it: `2026-07-01T12:00:00Z`. None: it is not one.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let parts = text.strip_suffix('Z')?.split(['-', 'T', ':']);
    let mut numbers = [0_u64; 6];
    let mut widths = [4, 2, 2, 2, 2, 2].into_iter();
    let mut filled = numbers.iter_mut();
    for part in parts {
        let digits = part.len() == widths.next()? && part.bytes().all(|byte| byte.is_ascii_digit());
        *filled.next()? = part.parse().ok().filter(|_| digits)?;
    }
    if filled.next().is_some() || !has_its_separators(text) {
        return None;
    }
    let [year, month, day, hour, minute, second] = numbers;
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let february = if leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = *lengths.get(before)?;
    if year < 1970 || day < 1 || day > length || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let months: u64 = lengths.iter().take(before).sum();
    let days = years + months + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

fn has_its_separators(text: &str) -> bool {
    let separators = text.bytes().filter(|byte| !byte.is_ascii_digit());
    separators.eq(*b"--T::Z")
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn instants_are_those_of_the_calendar() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-03-01T00:00:00Z", 5_097_600),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2001-01-01T00:00:00Z", 978_307_200),
            ("2026-07-01T12:00:00Z", 1_782_907_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(milliseconds(text), Some(seconds * 1000), "{text}");
        }
        for text in [
            "",
            "Z",
            "2026-07-01",
            "2026-07-01T12:00:00",
            "2026-07-01T12:00:00+00:00",
            "2026-07-01 12:00:00Z",
            "2026-07-01T12-00:00Z",
            "2026-07-01T12:00:00.5Z",
            "2026-07-01T12:00:00:00Z",
            "26-07-01T12:00:00Z",
            "2026-7-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-07-00T12:00:00Z",
            "2026-07-01T24:00:00Z",
            "2026-07-01T12:60:00Z",
            "2026-07-01T12:00:60Z",
            "1969-12-31T23:59:59Z",
            "+026-07-01T12:00:00Z",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}

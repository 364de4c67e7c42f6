//! Quantities of Kubernetes, as far as whole numbers go.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A quantity such as `8`, `1k` or `16Gi`, without what is a fraction. What is less than nothing, or no quantity, is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) u64);

impl Whole {
    fn parse(text: &str) -> Option<u64> {
        let end = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'));
        let (number, suffix) = text.split_at_checked(end.unwrap_or(text.len()))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        let (base, exponent): (u128, i32) = match suffix {
            "n" => (10, -9),
            "u" => (10, -6),
            "m" => (10, -3),
            "" => (10, 0),
            "k" => (10, 3),
            "M" => (10, 6),
            "G" => (10, 9),
            "T" => (10, 12),
            "P" => (10, 15),
            "E" => (10, 18),
            "Ki" => (2, 10),
            "Mi" => (2, 20),
            "Gi" => (2, 30),
            "Ti" => (2, 40),
            "Pi" => (2, 50),
            "Ei" => (2, 60),
            other => (10, other.strip_prefix(['e', 'E'])?.parse().ok()?),
        };
        let power = |base: u128, exponent: u32| base.checked_pow(exponent);
        let (up, down) = match (base, exponent) {
            (10, exponent) => (exponent.saturating_sub(places), 0),
            (_, exponent) => (exponent, places),
        };
        let up = match u32::try_from(up) {
            // So large that it does not matter how large.
            Ok(up) => power(base, up).map_or(u128::MAX, |by| digits.saturating_mul(by)),
            Err(_) => power(base, up.unsigned_abs()).map_or(0, |by| digits / by),
        };
        let down = power(10, u32::try_from(down).ok()?)?;
        Some(u64::try_from(up / down).unwrap_or(u64::MAX))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Quantity;

        impl Visitor<'_> for Quantity {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Whole, E> {
                Ok(Whole(Whole::parse(text).unwrap_or(0)))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(u64::try_from(number).unwrap_or(0)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_unit<E: Error>(self) -> Result<Whole, E> {
                Ok(Whole(0))
            }
        }

        from.deserialize_any(Quantity)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_quantity_is_read_without_its_fraction() {
        for (quantity, whole) in [
            (json!("8"), 8),
            (json!("0"), 0),
            (json!("1k"), 1000),
            (json!("1.5k"), 1500),
            (json!("12e2"), 1200),
            (json!("1E3"), 1000),
            (json!("1E"), 1_000_000_000_000_000_000),
            (json!("2Ki"), 2048),
            (json!("1.5Ki"), 1536),
            (json!("1500m"), 1),
            (json!("2.9"), 2),
            (json!("999u"), 0),
            (json!("5e-1"), 0),
            (json!("50e-1"), 5),
            (json!("1e99"), u64::MAX),
            (json!("100Ei"), u64::MAX),
            (json!(8), 8),
            (json!(8.5), 8),
            (json!(-1), 0),
            (json!("-1"), 0),
            (json!("many"), 0),
            (json!("1.2.3"), 0),
            (json!(""), 0),
            (Value::Null, 0),
        ] {
            let read: Whole = serde_json::from_value(quantity.clone()).unwrap();
            assert_eq!(read, Whole(whole), "{quantity}");
        }
    }
}

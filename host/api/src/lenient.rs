//! Decoding that does not fail where one odd value would spoil a whole list of objects.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use planner::rule::Status;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// `null` counts as absent, as in Go.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A time; none if it is absent or not a time.
pub(crate) fn timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    text(from, |text| text?.parse().ok())
}

/// As [`timestamp`]; the epoch if it is there and not a time, where being there says enough.
pub(crate) fn mark<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    text(from, |text| {
        text.map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH))
    })
}

/// A time that the schema requires; the epoch if it is not a time.
pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
    timestamp(from).map(|time| Time(time.unwrap_or(Timestamp::UNIX_EPOCH)))
}

/// A condition's status; `Unknown` if it is none of the three.
pub(crate) fn status<'de, D: Deserializer<'de>>(from: D) -> Result<Status, D::Error> {
    text(from, |text| {
        text.and_then(Status::parse).unwrap_or(Status::Unknown)
    })
}

/// As [`status`]; none if it is absent.
pub(crate) fn optional_status<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Status>, D::Error> {
    text(from, |text| {
        text.map(|text| Status::parse(text).unwrap_or(Status::Unknown))
    })
}

/// A number or a string; a number that is none of 32 bits, or anything else, as its text.
pub(crate) fn int_or_string<'de, D: Deserializer<'de>>(from: D) -> Result<IntOrString, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    Ok(match (number, value) {
        (Some(number), _) => IntOrString::Int(number),
        (None, serde_json::Value::String(text)) => IntOrString::String(text),
        (None, other) => IntOrString::String(other.to_string()),
    })
}

/// A string; empty if it is absent.
pub(crate) fn string<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, |text| text.unwrap_or_default().to_owned())
}

/// A value made of a string, none for `null` or an empty one, without a copy of it.
pub(crate) fn text<'de, D, T, F>(from: D, make: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(Option<&str>) -> T,
{
    struct Text<T, F>(F, PhantomData<T>);

    impl<'de, T, F: FnOnce(Option<&str>) -> T> Visitor<'de> for Text<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            Ok((self.0)(Some(text).filter(|text| !text.is_empty())))
        }

        fn visit_none<E: Error>(self) -> Result<T, E> {
            Ok((self.0)(None))
        }

        fn visit_unit<E: Error>(self) -> Result<T, E> {
            Ok((self.0)(None))
        }

        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
            // Of the type that it has: in YAML an unquoted `True` is no string.
            from.deserialize_any(self)
        }
    }

    from.deserialize_option(Text(make, PhantomData))
}

//! An error about a field, in the form that Kubernetes gives it.

use std::fmt;

/// Characters of a value that are repeated in a message.
const SHOWN: usize = 256;

/// Something that is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path, such as `spec.conditions[0].defaultStatus`.
    pub field: String,
    /// In which way it is wrong.
    pub kind: Kind,
    /// What is wrong, for people.
    pub detail: String,
}

/// In which way a field is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It must be there.
    Required,
    /// It must not be so; with what stands there, as JSON, its end cut off where it is long.
    Invalid(String),
    /// It must not be there.
    Forbidden,
}

impl FieldError {
    pub(super) fn required(field: String, detail: &str) -> Self {
        Self {
            field,
            kind: Kind::Required,
            detail: detail.to_owned(),
        }
    }

    /// A field with a value, as JSON, that it must not have.
    pub fn invalid(field: String, value: &str, detail: String) -> Self {
        let shown = match value.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value.to_owned(),
        };
        Self {
            field,
            kind: Kind::Invalid(shown),
            detail,
        }
    }

    pub(super) fn forbidden(field: String, detail: &str) -> Self {
        Self {
            field,
            kind: Kind::Forbidden,
            detail: detail.to_owned(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            kind,
            detail,
        } = self;
        match kind {
            Kind::Required => write!(f, "{field}: Required value: {detail}"),
            Kind::Invalid(value) => write!(f, "{field}: Invalid value: {value}: {detail}"),
            Kind::Forbidden => write!(f, "{field}: Forbidden: {detail}"),
        }
    }
}

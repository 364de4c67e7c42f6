//! Where a `Location` header leads.

use http::{HeaderValue, Uri};

/// The place that `location` names, seen from `from`; a URL, or a path with or without its beginning.
pub(crate) fn resolve(from: &Uri, location: &HeaderValue) -> Option<Uri> {
    let location = location.to_str().ok()?;
    let scheme = from.scheme_str()?;
    let authority = from.authority()?;
    let text = if location.contains("://") && !location.starts_with('/') {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let (folder, _) = from.path().rsplit_once('/')?;
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let (text, _) = text.split_once('#').unwrap_or((&text, ""));
    let uri: Uri = text.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("https" | "http"));
    let authority = uri.authority()?.as_str();
    (known && !authority.contains('@')).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_url_or_a_path() {
        let from = "https://host.example:5000/v2/a/blobs/x?y=z"
            .parse()
            .unwrap();
        for (location, expected) in [
            (
                "https://other.example/b?c=d#e",
                Some("https://other.example/b?c=d"),
            ),
            ("http://other.example/", Some("http://other.example/")),
            ("//other.example/b", Some("https://other.example/b")),
            (
                "/b?c=https://d",
                Some("https://host.example:5000/b?c=https://d"),
            ),
            ("b", Some("https://host.example:5000/v2/a/blobs/b")),
            ("ftp://other.example/b", None),
            ("file:///etc/passwd", None),
            ("https://user:password@other.example/", None),
            ("https://", None),
        ] {
            let found = resolve(&from, &HeaderValue::from_str(location).unwrap());
            let found = found.map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{location}");
        }
    }
}

//! What is wrong with parameters, collected.

use core::time::Duration;

use crate::names::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value};
use crate::{Json, Problem, milliseconds};

/// The most problems that are told.
const MOST: usize = 16;

/// The most labels of one object of parameters.
const MOST_LABELS: usize = 16;

/// Reads parameters, and keeps what is wrong with them, with its place: a JSON Pointer.
///
/// ```
/// use guest_sdk::Problems;
///
/// let parameters = Problems::object(r#"{"maxAge": "soon", "more": 1}"#).unwrap();
/// let mut problems = Problems::default();
/// problems.unknown("", &parameters, &["maxAge"]);
/// assert_eq!(problems.duration("", &parameters, "maxAge"), None);
/// let problems = problems.or(()).unwrap_err();
/// let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
/// assert_eq!(paths, ["/more", "/maxAge"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The parameters of a rule, an object; an empty one where there are none.
    ///
    /// # Errors
    ///
    /// They are something else.
    pub fn object(json: &str) -> Result<Json, Vec<Problem>> {
        match Json::parse(json) {
            Some(object @ Json::Map(_)) => Ok(object),
            _ if json.is_empty() => Ok(Json::Map(Vec::new())),
            _ => Err(vec![Problem::new(
                "",
                "the parameters are not a JSON object",
            )]),
        }
    }

    /// One more.
    pub fn add(&mut self, path: &str, message: &str) {
        if self.0.len() < MOST {
            self.0.push(Problem::new(path, message));
        }
    }

    /// Members that there are not.
    pub fn unknown(&mut self, path: &str, object: &Json, known: &[&str]) {
        let Json::Map(members) = object else { return };
        let names = members.iter().map(|(name, _)| name);
        let unknown = names.filter(|name| !known.contains(&name.as_str()));
        for name in unknown.take(MOST) {
            let has = known.join(", ");
            match member(path, name) {
                Some(path) => {
                    self.add(
                        &path,
                        &format!("there is no such parameter; there is {has}"),
                    );
                }
                None => {
                    let message = format!("a parameter that there is not; there is {has}");
                    self.add(path, &message);
                }
            }
        }
    }

    /// The name of a namespace; none also where it is wrong.
    pub fn namespace<'a>(&mut self, path: &str, object: &'a Json, name: &str) -> Option<&'a str> {
        let message = "must be a text that can be the name of a namespace: 1 to 63 small letters, digits and '-', with a \
                       letter or digit at both ends";
        self.text(path, object, name, is_dns_label, message)
    }

    /// The name of an object; none also where it is wrong.
    pub fn object_name<'a>(&mut self, path: &str, object: &'a Json, name: &str) -> Option<&'a str> {
        let message = "must be a text that can be the name of an object: 1 to 253 small letters, digits, '-' and '.', with a \
                       letter or digit at both ends and beside each '.'";
        self.text(path, object, name, is_dns_subdomain, message)
    }

    fn text<'a>(
        &mut self,
        path: &str,
        object: &'a Json,
        name: &str,
        is_sound: fn(&str) -> bool,
        message: &str,
    ) -> Option<&'a str> {
        let found = object.get(name)?.text().filter(|text| is_sound(text));
        if found.is_none() {
            self.add(&format!("{path}/{name}"), message);
        }
        found
    }

    /// Labels, 1 to 16 of them; none where there are none, or where something about them as a whole is wrong.
    pub fn labels<'a>(
        &mut self,
        path: &str,
        object: &'a Json,
        name: &str,
    ) -> Vec<(&'a str, &'a str)> {
        let Some(given) = object.get(name) else {
            return Vec::new();
        };
        let path = format!("{path}/{name}");
        let found: Option<Vec<_>> = match given {
            Json::Map(labels) if (1..=MOST_LABELS).contains(&labels.len()) => {
                let label = |(key, value): &'a (String, Json)| Some((key.as_str(), value.text()?));
                labels.iter().map(label).collect()
            }
            _ => None,
        };
        let Some(found) = found else {
            let message = "must be an object of 1 to 16 labels, each with a text as its value";
            self.add(&path, message);
            return Vec::new();
        };
        for (key, value) in &found {
            let place = member(&path, key);
            let place = place.as_deref().unwrap_or(&path);
            if !is_label_key(key) {
                self.add(
                    place,
                    "no label can have this key: it is 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at \
                     both ends, and maybe a DNS subdomain with '/' before it",
                );
            }
            if !is_label_value(value) {
                self.add(
                    place,
                    "no label can have this value: it is at most 63 letters, digits, '-', '_' and '.', with a letter or digit \
                     at both ends",
                );
            }
        }
        found
    }

    /// A duration, and how it was written; none also where it is wrong.
    pub fn duration<'a>(
        &mut self,
        path: &str,
        object: &'a Json,
        name: &str,
    ) -> Option<(Duration, &'a str)> {
        let given = object.get(name)?;
        let read = given
            .text()
            .and_then(|text| Some((Duration::from_millis(milliseconds(text)?), text)));
        if read.is_none() {
            self.add(
                &format!("{path}/{name}"),
                "must be a duration such as \"30s\", \"5m\" or \"1h30m\"",
            );
        }
        read
    }

    /// What was read, where nothing is wrong.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub fn or<T>(self, read: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() {
            Ok(read)
        } else {
            Err(self.0)
        }
    }

    /// The first one as a sentence, for an evaluation: a host asks `check` first, so that nobody should see it.
    pub fn first(problems: Vec<Problem>) -> String {
        let first = problems.into_iter().next();
        first.map_or_else(String::new, |problem| {
            format!("parameters{}: {}", problem.path, problem.message)
        })
    }
}

/// The place of a member; none where its name is too long to repeat.
fn member(path: &str, name: &str) -> Option<String> {
    let name = name.replace('~', "~0").replace('/', "~1");
    (name.len() <= 200).then(|| format!("{path}/{name}"))
}

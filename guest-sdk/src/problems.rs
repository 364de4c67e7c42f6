//! What is wrong with parameters, collected.

use core::time::Duration;

use crate::{Json, Problem, milliseconds};

/// The most problems that are told.
const MOST: usize = 16;

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
            let name = name.replace('~', "~0").replace('/', "~1");
            let has = known.join(", ");
            if name.len() <= 200 {
                self.add(
                    &format!("{path}/{name}"),
                    &format!("there is no such parameter; there is {has}"),
                );
            } else {
                self.add(
                    path,
                    &format!("a parameter that there is not; there is {has}"),
                );
            }
        }
    }

    /// A text that is not empty; none also where it is wrong.
    pub fn text<'a>(&mut self, path: &str, object: &'a Json, name: &str) -> Option<&'a str> {
        match object.get(name)? {
            Json::Text(text) if (1..=253).contains(&text.len()) => Some(text),
            _ => {
                self.add(
                    &format!("{path}/{name}"),
                    "must be a text of 1 to 253 characters",
                );
                None
            }
        }
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

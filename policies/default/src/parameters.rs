//! The parameters: a flat JSON object. It is read without a JSON library, since the smallest one
//! would add 5 kB to the module and more time to each evaluation. Nothing is inlined that is not
//! worth its copies: the module is measured.

use guest_sdk::{Problem, milliseconds};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// The most problems that are told.
const MOST_PROBLEMS: usize = 16;
/// The longest name that is repeated in a problem, in bytes.
const LONGEST_NAME: usize = 256;

/// What a rule may tell the policy. Times are in milliseconds: arithmetic on `Duration` can panic,
/// which would bring Rust's formatting into the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parameters {
    /// A condition whose last heartbeat is older counts as Unknown.
    pub(crate) max_heartbeat_age: Option<u64>,
    /// A condition is met once it has had its required status for so long.
    pub(crate) min_ready_time: u64,
    /// A node has to become ready again after each reboot.
    pub(crate) rearm_on_reboot: bool,
}

impl Parameters {
    /// From JSON; empty: none are given.
    pub(crate) fn read(json: &str) -> Result<Self, Vec<Problem>> {
        let mut parameters = Self::default();
        if json.is_empty() {
            return Ok(parameters);
        }
        let mut problems = Vec::new();
        let whole = Reader(json).object(|name, value| {
            if let Err(problem) = parameters.set(name, value)
                && problems.len() < MOST_PROBLEMS
            {
                problems.push(Problem::new(pointer(name), problem));
            }
        });
        if whole.is_none() {
            problems.push(Problem::new("", "the parameters are not a JSON object"));
        }
        if problems.is_empty() {
            Ok(parameters)
        } else {
            Err(problems)
        }
    }

    #[inline(never)]
    fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), &'static str> {
        match name {
            "maxHeartbeatAge" => match duration(value)? {
                0 => return Err("must be longer than 0: every heartbeat is older"),
                age => self.max_heartbeat_age = Some(age),
            },
            "minReadyTime" => self.min_ready_time = duration(value)?,
            "rearmOnReboot" => match value {
                Value::Bool(rearm) => self.rearm_on_reboot = rearm,
                _ => return Err("must be true or false, without quotes"),
            },
            _ => {
                return Err(
                    "the default policy has no such parameter; it has maxHeartbeatAge, \
                     minReadyTime and rearmOnReboot",
                );
            }
        }
        Ok(())
    }
}

fn duration(value: Value<'_>) -> Result<u64, &'static str> {
    let Value::Text(text) = value else {
        return Err("a duration is a string, such as \"30s\", \"5m\" or \"1h30m\"");
    };
    milliseconds(text).ok_or(
        "not a duration: give one to four whole numbers of at most five digits, each with its \
         unit h, m, s or ms, such as 30s, 5m or 1h30m",
    )
}

/// JSON pointer to a member of the whole; to the whole where its name is too long to repeat.
#[inline(never)]
fn pointer(name: &str) -> String {
    if name.len() > LONGEST_NAME {
        return String::new();
    }
    let mut pointer = String::from("/");
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            _ => pointer.push(character),
        }
    }
    pointer
}

/// A value, as far as a parameter can be one.
enum Value<'a> {
    /// A string, its escapes as written: no valid parameter needs one.
    Text(&'a str),
    /// `true` or `false`
    Bool(bool),
    /// Anything else.
    Other,
}

/// What is left to read.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    /// Every member of an object that is all there is.
    fn object(&mut self, mut member: impl FnMut(&'a str, Value<'a>)) -> Option<()> {
        if !self.eat("{") {
            return None;
        }
        if !self.eat("}") {
            loop {
                let name = self.text()?;
                if !self.eat(":") {
                    return None;
                }
                member(name, self.value()?);
                if self.eat("}") {
                    break;
                }
                if !self.eat(",") {
                    return None;
                }
            }
        }
        self.skip_space();
        self.0.is_empty().then_some(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.0.as_bytes().first() {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
    }

    #[inline(never)]
    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    #[inline(never)]
    fn text(&mut self) -> Option<&'a str> {
        if !self.eat("\"") {
            return None;
        }
        let mut escaped = false;
        for (index, byte) in self.0.bytes().enumerate() {
            if !escaped && byte == b'"' {
                let text = self.0.get(..index);
                self.0 = self.0.get(index + 1..)?;
                return text;
            }
            escaped = !escaped && byte == b'\\';
        }
        None
    }

    #[inline(never)]
    fn value(&mut self) -> Option<Value<'a>> {
        if let Some(text) = self.text() {
            return Some(Value::Text(text));
        }
        if self.eat("true") {
            return Some(Value::Bool(true));
        }
        if self.eat("false") {
            return Some(Value::Bool(false));
        }
        // Up to the comma or the brace behind it.
        let mut depth = 0;
        loop {
            match self.0.as_bytes().first()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b',' | b'}' if depth == 0 => return Some(Value::Other),
                b'[' | b'{' => depth += 1,
                b']' | b'}' if depth == 0 => return None,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.0 = self.0.get(1..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<(String, String)> {
        let problems = Parameters::read(json).expect_err("a problem");
        problems.into_iter().map(|p| (p.path, p.message)).collect()
    }

    #[test]
    fn durations_are_those_of_the_gateway_api() {
        for (text, expected) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1m1m1ms", 120_001),
            ("99999h99999h99999h99999h", 4 * 99_999 * 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5h",
            "-5m",
            "+5m",
            " 5m",
            "5m ",
            "5 m",
            "5d",
            "1h1h1h1h1h",
            "100000s",
            "5M",
            "1hour",
            "5µs",
            "٣s",
            "000001s",
        ] {
            assert_eq!(milliseconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_object_is_read_whatever_its_spaces_and_its_order() {
        let expected = Parameters {
            max_heartbeat_age: Some(600_000),
            min_ready_time: 30_000,
            rearm_on_reboot: true,
        };
        for json in [
            r#"{"maxHeartbeatAge":"10m","minReadyTime":"30s","rearmOnReboot":true}"#,
            "\n{ \"rearmOnReboot\": true, \"minReadyTime\" :\t\"30s\" ,\r\n \"maxHeartbeatAge\": \"10m\" }\n",
        ] {
            assert_eq!(Parameters::read(json), Ok(expected), "{json}");
        }
        for json in ["", "{}", " { } "] {
            assert_eq!(Parameters::read(json), Ok(Parameters::default()), "{json}");
        }
    }

    #[test]
    fn every_problem_has_its_place() {
        let json = r#"{"a/b~c":{"x":["}",{"y":"\"}"}]},"minReadyTime":30,"maxHeartbeatAge":"soon","rearmOnReboot":"true"}"#;
        let found = problems(json);
        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        let expected = [
            "/a~1b~0c",
            "/minReadyTime",
            "/maxHeartbeatAge",
            "/rearmOnReboot",
        ];
        assert_eq!(paths, expected);
        assert!(found[3].1.contains("true or false"), "{}", found[3].1);
        assert!(found[0].1.contains("no such parameter"), "{}", found[0].1);
        assert!(found[1].1.contains("a string"), "{}", found[1].1);
        assert!(found[2].1.contains("such as 30s"), "{}", found[2].1);
        for value in ["null", "true", "5", "-1.5e3", "[]", "{}", "[{\"a\":[1,2]}]"] {
            let json = format!(r#"{{"minReadyTime":{value},"maxHeartbeatAge":"1m"}}"#);
            assert_eq!(problems(&json)[0].0, "/minReadyTime", "{value}");
        }
    }

    #[test]
    fn no_heartbeat_can_be_as_young_as_nothing() {
        assert_eq!(
            problems(r#"{"maxHeartbeatAge":"0s"}"#)[0].0,
            "/maxHeartbeatAge"
        );
        assert!(Parameters::read(r#"{"minReadyTime":"0s"}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in [
            "[]",
            "5",
            "\"a\"",
            "null",
            "{",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":[}",
            "{\"a\":1]}",
            "{a:1}",
            "{}{}",
            "{\"a\":1,}",
            "{,}",
            "{\"minReadyTime\":\"1s\"} x",
            "{\"minReadyTime\":\"1s\" \"maxHeartbeatAge\":\"1s\"}",
            "\u{feff}{}",
            "{\"a\":é}",
        ] {
            let found = problems(json);
            assert_eq!(
                found.last().map(|(path, _)| path.as_str()),
                Some(""),
                "{json}"
            );
        }
    }

    /// A host takes at most 64 problems, of at most 1024 bytes.
    #[test]
    fn what_is_told_stays_within_the_contract() {
        let long = "x".repeat(5000);
        let many: Vec<_> = (0..100)
            .map(|index| format!(r#""{index}{long}":1"#))
            .collect();
        let found = problems(&format!("{{{}}}", many.join(",")));
        assert_eq!(found.len(), MOST_PROBLEMS);
        assert!(
            found
                .iter()
                .all(|(path, message)| path.is_empty() && message.len() < 1024)
        );
    }
}

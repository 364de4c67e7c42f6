//! Parameters as values, without a JSON library: with serde_json a policy of 47 kB has 140.

/// A value of JSON. Of numbers only those are read that are whole.
///
/// ```
/// use guest_sdk::Json;
///
/// let Some(Json::Map(parameters)) = Json::parse(r#"{"names": ["a", "b"]}"#) else { panic!() };
/// let (name, value) = &parameters[0];
/// assert_eq!(name, "names");
/// assert_eq!(*value, Json::List(vec![Json::Text("a".into()), Json::Text("b".into())]));
/// assert_eq!(Json::parse("{"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number, not below zero, however it is written: `8.0` is one, as JSON Schema has it.
    Whole(u64),
    /// Any other number.
    Number,
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of the text; the last of several with one name comes last.
    Map(Vec<(String, Json)>),
}

/// The deepest nesting. A host gives no deeper one.
const DEPTH: u32 = 64;

impl Json {
    /// All of a text; none if it is no JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(value)
    }

    /// The last member of this name, where it is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else {
            return None;
        };
        let mut members = members.iter().rev();
        members
            .find(|member| member.0 == name)
            .map(|member| &member.1)
    }

    /// The number, where it is a whole one.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_there = rest.starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    fn value(&mut self, depth: u32) -> Option<Json> {
        if depth > DEPTH {
            return None;
        }
        self.skip_space();
        match self.peek()? {
            b'"' => self.string().map(Json::Text),
            b'[' => {
                let mut list = Vec::new();
                self.items("[", "]", |reader| {
                    list.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                Some(Json::List(list))
            }
            b'{' => {
                let mut map = Vec::new();
                self.items("{", "}", |reader| {
                    reader.skip_space();
                    let name = reader.string()?;
                    if !reader.eat(":") {
                        return None;
                    }
                    map.push((name, reader.value(depth + 1)?));
                    Some(())
                })?;
                Some(Json::Map(map))
            }
            b't' => self.eat("true").then_some(Json::Bool(true)),
            b'f' => self.eat("false").then_some(Json::Bool(false)),
            b'n' => self.eat("null").then_some(Json::Null),
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
                    self.at += 1;
                }
                let number = self.text.get(start..self.at)?;
                Some(whole(number).map_or(Json::Number, Json::Whole))
            }
            _ => None,
        }
    }

    fn items(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if !self.eat(open) {
            return None;
        }
        if self.eat(close) {
            return Some(());
        }
        loop {
            item(self)?;
            if self.eat(close) {
                return Some(());
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let end = rest.find(['"', '\\'])?;
            text.push_str(rest.get(..end)?);
            self.at += end + 1;
            if rest.as_bytes().get(end) == Some(&b'"') {
                return Some(text);
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                let rest = self.text.get(self.at..)?;
                if !rest.starts_with("\\u") {
                    return None;
                }
                self.at += 2;
                let second = self
                    .unit()?
                    .checked_sub(0xdc00)
                    .filter(|low| *low < 0x400)?;
                char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)?
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// `80`, `80.0`, `8e1` and the like.
fn whole(number: &str) -> Option<u64> {
    if let Ok(whole) = number.parse() {
        return Some(whole);
    }
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let after = after.trim_end_matches('0');
    let digits: u64 = [before, after].concat().parse().ok()?;
    let places = i64::from(exponent.parse::<i32>().ok()?) - after.len() as i64;
    let by = u32::try_from(places.unsigned_abs())
        .ok()
        .and_then(|places| 10_u64.checked_pow(places));
    match by {
        _ if digits == 0 => Some(0),
        Some(by) if places < 0 => digits.checked_div(by).filter(|_| digits.is_multiple_of(by)),
        Some(by) => digits.checked_mul(by),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Json {
        Json::Text(text.into())
    }

    #[test]
    fn values_are_read_whatever_their_spaces() {
        let json =
            "\n{ \"a\" :\t[ 1 , -2.5e+3, true,false , null ,{} ,[] ], \"b\":\"x\" , \"b\":\"y\"} ";
        let value = Json::parse(json).unwrap();
        let list = [
            Json::Whole(1),
            Json::Number,
            Json::Bool(true),
            Json::Bool(false),
            Json::Null,
            Json::Map(vec![]),
            Json::List(vec![]),
        ];
        assert_eq!(value.get("a"), Some(&Json::List(list.into())));
        for (json, whole) in [
            ("8", Some(8)),
            ("-8", None),
            ("8.0", Some(8)),
            ("8e0", Some(8)),
            ("1.20E+3", Some(1200)),
            ("80e-1", Some(8)),
            ("8.5", None),
            ("85e-1", None),
            ("0e99", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e19", Some(10_000_000_000_000_000_000)),
            ("1e20", None),
            ("1e-9999999999", None),
        ] {
            let value = Json::parse(json).unwrap();
            assert_eq!(value.whole(), whole, "{json}");
        }
        assert_eq!(value.get("b").and_then(Json::text), Some("y"));
        assert_eq!(value.get("c"), None);
    }

    #[test]
    fn escapes_are_taken_back() {
        let json = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#;
        assert_eq!(Json::parse(json), Some(text("a\"\\/\u{8}\u{c}\n\r\té😀é")));
        for bad in [
            r#""\x""#,
            r#""\u12""#,
            r#""\ud83d""#,
            r#""\ud83d\u0041""#,
            r#""\udc00""#,
            r#""\u+123""#,
            r#""a"#,
            "\"\\",
        ] {
            assert_eq!(Json::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        for bad in [
            "", "{", "[1,]", "{,}", "{\"a\"}", "{\"a\":}", "{a:1}", "tru", "1 2", "[1}", "é",
        ] {
            assert_eq!(Json::parse(bad), None, "{bad}");
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&deep(64)).is_some());
        assert_eq!(Json::parse(&deep(10_000)), None);
    }
}

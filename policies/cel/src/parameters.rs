//! The parameters: a flat JSON object.

use guest_sdk::Problem;
use serde_json::{Map, Value};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// Of an expression, in bytes. What it may cost is bounded by the host's deadline.
const LONGEST_EXPRESSION: usize = 2048;
/// Of a message, in bytes.
const LONGEST_MESSAGE: usize = 512;
/// The most problems that are told.
const MOST_PROBLEMS: usize = 16;
/// The longest name that is repeated in a problem, in bytes.
const LONGEST_NAME: usize = 256;

/// What a rule tells the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parameters {
    /// When a node is ready.
    pub(crate) expression: String,
    /// For people, while it is not; may be empty.
    pub(crate) message: String,
}

impl Parameters {
    /// From JSON.
    pub(crate) fn read(json: &str) -> Result<Self, Vec<Problem>> {
        let members: Map<String, Value> = match json {
            "" => Map::new(),
            json => serde_json::from_str(json)
                .map_err(|_| vec![Problem::new("", "the parameters are not a JSON object")])?,
        };
        let mut parameters = Self::default();
        let mut problems = Vec::new();
        if !members.contains_key("expression") {
            let needed =
                "needed: when is a node ready? Such as conditionIs('Ready', 'True', '30s')";
            problems.push(Problem::new("/expression", needed));
        }
        for (name, value) in members {
            if let Err(problem) = parameters.set(&name, value) {
                problems.push(Problem::new(pointer(&name), problem));
            }
        }
        problems.truncate(MOST_PROBLEMS);
        if problems.is_empty() {
            Ok(parameters)
        } else {
            Err(problems)
        }
    }

    fn set(&mut self, name: &str, value: Value) -> Result<(), &'static str> {
        let field = match name {
            "expression" => &mut self.expression,
            "message" => &mut self.message,
            _ => {
                return Err("the policy cel has no such parameter; it has expression and message");
            }
        };
        let Value::String(text) = value else {
            return Err("must be a string");
        };
        match name {
            "expression" if text.len() > LONGEST_EXPRESSION => {
                return Err("longer than 2048 bytes: write a policy of your own");
            }
            "message" if text.len() > LONGEST_MESSAGE => return Err("longer than 512 bytes"),
            _ => *field = text,
        }
        Ok(())
    }
}

/// JSON pointer to a member of the whole; to the whole where its name is too long to repeat.
fn pointer(name: &str) -> String {
    if name.len() > LONGEST_NAME {
        return String::new();
    }
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

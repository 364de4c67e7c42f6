//! An expression of CEL.

use core::mem::ManuallyDrop;
use std::sync::Arc;

use cel::common::ast::operators::{
    CONDITIONAL, EQUALS, GREATER, GREATER_EQUALS, IN, LESS, LESS_EQUALS, LOGICAL_AND, LOGICAL_NOT,
    LOGICAL_OR, NOT_EQUALS,
};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString};
use cel::common::value::CowVal;
use cel::parser::PrattParser;
use cel::parser::pratt_parser::{Lexer, TokenKind};
use cel::{Context, Env, ExecutionError, FunctionContext, Value};
use guest_sdk::Facts;

use crate::outline::{DEEPEST, Part, TooDeep, walk};
use crate::questions::{Answer, QUESTIONS, ask};

/// Nesting that the parser goes into. It takes more of the stack than a level of what it makes.
const DEEPEST_NESTING: u16 = 12;
/// The most problems that are told.
const MOST_PROBLEMS: usize = 16;

/// Functions of CEL itself: name, number of arguments, what it gives.
const FUNCTIONS: &[(&str, usize, &str)] = &[
    ("size", 1, "int"),
    ("int", 1, "int"),
    ("double", 1, "double"),
    ("string", 1, "string"),
];
/// Its methods.
const METHODS: &[(&str, usize, &str)] = &[
    ("contains", 1, "bool"),
    ("startsWith", 1, "bool"),
    ("endsWith", 1, "bool"),
    ("size", 0, "int"),
];

/// A function that asks the host, as the interpreter calls it.
type Asking = Box<
    dyn for<'context, 'call> Fn(
            &mut FunctionContext<'context, 'call>,
        ) -> Result<CowVal<'context, 'call>, ExecutionError>
        + Send
        + Sync,
>;

/// An expression that can be parsed, and is not nested deeper than the stack allows. It is never dropped, since
/// nothing is freed here.
#[derive(Debug)]
pub(crate) struct Expression(ManuallyDrop<IdedExpr>);

impl Expression {
    /// Parses it, or says what is wrong and where.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<String>> {
        // The parser goes into each `a ? b : c` behind another one, and does not count them.
        if text.bytes().filter(|byte| *byte == b'?').count() > DEEPEST {
            return Err(vec![too_deep()]);
        }
        let parser = PrattParser::new().max_recursion_depth(DEEPEST_NESTING);
        let parsed = parser.parse(text).map_err(|errors| {
            // What it says after the first one often follows from that.
            let first = errors.errors.into_iter().next();
            vec![first.map_or_else(too_deep, |error| match error.pos {
                // It tells no place where it gave up.
                (0, _) => too_deep(),
                (line, column) => format!("line {line}, column {column}: {}", error.msg),
            })]
        })?;
        let parsed = ManuallyDrop::new(parsed);
        match walk(&parsed, &mut |_| {}) {
            Ok(()) => Ok(Self(parsed)),
            Err(TooDeep) => Err(vec![too_deep()]),
        }
    }

    /// What the author of the rule has to mend.
    pub(crate) fn problems(&self, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let walked = walk(&self.0, &mut |part| {
            match part {
            Part::Variable(name) => problems.push(format!(
                "{}: unknown variable '{name}'; what is known of a node is asked by functions, such as \
                 conditionIs('Ready', 'True')",
                place(text, name)
            )),
            Part::Type(name) => {
                problems.push(format!("{}: unknown type '{name}'", place(text, name)));
            }
            Part::Call(call) => {
                if let Some(problem) = problem_of(call) {
                    problems.push(format!("{}: {problem}", place(text, &call.func_name)));
                }
            }
        }
        });
        if walked == Err(TooDeep) {
            problems.push(too_deep());
        }
        if problems.is_empty()
            && let Some(kind) = gives(&self.0).filter(|kind| *kind != "bool")
        {
            problems.push(format!(
                "line 1, column 1: the expression gives a value of type {kind}, and must give true or false"
            ));
        }
        problems.truncate(MOST_PROBLEMS);
        problems
    }

    /// Is it true?
    pub(crate) fn evaluate(&self, facts: &Facts) -> Result<bool, String> {
        let mut asked: Vec<&str> = Vec::new();
        let mut needs_library = false;
        let walked = walk(&self.0, &mut |part| {
            if let Part::Call(call) = part
                && !is_operator(&call.func_name)
            {
                let name = call.func_name.as_str();
                let is_question = QUESTIONS.iter().any(|question| question.name == name);
                needs_library |= !is_question;
                if is_question && !asked.contains(&name) {
                    asked.push(name);
                }
            }
        });
        walked.map_err(|TooDeep| too_deep())?;
        // The library takes longer to build than most expressions take.
        let environment = if needs_library {
            Env::default().with_optional_support(false).with_stdlib()
        } else {
            Env::default()
        };
        let mut context = Context::with_env(Arc::new(environment));
        for name in asked {
            let added = context.add_function::<Asking, _>(name, asking(facts.clone()));
            added.map_err(|error| error.to_string())?;
        }
        match Value::resolve(&self.0, &context) {
            Ok(Value::Bool(yes)) => Ok(yes),
            Ok(other) => Err(format!(
                "the expression gives a value of type {}, and must give true or false",
                other.type_of()
            )),
            Err(error) => Err(format!("the expression cannot be evaluated: {error}")),
        }
    }
}

fn asking(facts: Facts) -> Asking {
    Box::new(move |context| {
        let arguments = context.args.iter();
        let texts: Vec<Option<&str>> = arguments
            .map(|argument| {
                argument
                    .downcast_ref::<CelString<'_>>()
                    .map(CelString::inner)
            })
            .collect();
        match ask(&facts, context.name, &texts) {
            Ok(Answer::Bool(yes)) => Ok(CowVal::owned(CelBool::from(yes))),
            Ok(Answer::Text(text)) => Ok(CowVal::owned(CelString::from(text))),
            Err(problem) => Err(ExecutionError::function_error(context.name, problem)),
        }
    })
}

/// What is wrong with a call, as far as it can be seen without a node.
fn problem_of(call: &CallExpr) -> Option<String> {
    let name = call.func_name.as_str();
    if is_operator(name) {
        return None;
    }
    let count = call.args.len();
    if call.target.is_some() {
        return match METHODS.iter().find(|method| method.0 == name) {
            Some((_, wanted, _)) if *wanted == count => None,
            Some((_, wanted, _)) => Some(format!("'{name}' takes {wanted} arguments, not {count}")),
            None => Some(format!(
                "unknown method '{name}'; there are contains, startsWith, endsWith and size"
            )),
        };
    }
    if let Some((_, wanted, _)) = FUNCTIONS.iter().find(|function| function.0 == name) {
        return (*wanted != count)
            .then(|| format!("'{name}' takes {wanted} argument, not {count}"));
    }
    let named = QUESTIONS.iter().filter(|question| question.name == name);
    let counts: Vec<String> = named
        .clone()
        .map(|question| question.arguments.len().to_string())
        .collect();
    if counts.is_empty() {
        return Some(format!(
            "unknown function '{name}'; the README of the policy cel names them all"
        ));
    }
    let mut named = named;
    let Some(question) = named.find(|question| question.arguments.len() == count) else {
        let counts = counts.join(" or ");
        return Some(format!("'{name}' takes {counts} arguments, not {count}"));
    };
    let mut arguments = question.arguments.iter().zip(&call.args);
    arguments.find_map(|(argument, given)| match &given.expr {
        Expr::Literal(LiteralValue::String(text)) => {
            let wanted = argument.read(text.inner()).err()?;
            Some(format!("'{}' is not {wanted}", text.inner()))
        }
        _ => {
            let kind = gives(given).filter(|kind| *kind != "string")?;
            Some(format!(
                "an argument of '{name}' is a {kind}, and must be a string"
            ))
        }
    })
}

/// The type of an expression, where that can be seen without a node.
fn gives(expression: &IdedExpr) -> Option<&'static str> {
    match &expression.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::Null => "null",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
        }),
        Expr::List(_) => Some("list"),
        Expr::Map(_) => Some("map"),
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            match name {
                LOGICAL_AND | LOGICAL_OR | LOGICAL_NOT | EQUALS | NOT_EQUALS | LESS
                | LESS_EQUALS | GREATER | GREATER_EQUALS | IN => return Some("bool"),
                CONDITIONAL => {
                    let mut kinds = call.args.iter().skip(1).map(gives);
                    let first = kinds.next()??;
                    return kinds.all(|kind| kind == Some(first)).then_some(first);
                }
                _ => {}
            }
            if call.target.is_some() {
                return METHODS
                    .iter()
                    .find(|method| method.0 == name)
                    .map(|it| it.2);
            }
            let question = QUESTIONS.iter().find(|question| question.name == name);
            let question = question.map(|question| question.gives);
            question.or_else(|| FUNCTIONS.iter().find(|it| it.0 == name).map(|it| it.2))
        }
        _ => None,
    }
}

/// The interpreter names operators by signs that no name has.
fn is_operator(name: &str) -> bool {
    name.contains(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_')
}

/// Where a name stands for the first time. The parser keeps no places of what it could parse.
fn place(text: &str, name: &str) -> String {
    let mut lexer = Lexer::new(text);
    let mut start = 0;
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd | TokenKind::TokError => break,
            TokenKind::TokIdent if text.get(token.start..token.end) == Some(name) => {
                start = token.start;
                break;
            }
            _ => {}
        }
    }
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("line {line}, column {column}")
}

fn too_deep() -> String {
    format!(
        "nested too deeply: {DEEPEST} levels, or {DEEPEST_NESTING} parentheses in each other, are the most"
    )
}

//! What an expression is made of.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};

/// Levels of an expression: a policy has a stack of 64 KiB, of which each level takes a part.
pub(crate) const DEEPEST: usize = 24;

/// A part that can be wrong by itself.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// A variable that no macro binds.
    Variable(&'a str),
    /// A call of a function, a method or an operator.
    Call(&'a CallExpr),
    /// A type of which a value is made.
    Type(&'a str),
}

/// It has more levels than [`DEEPEST`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooDeep;

/// Shows all parts of an expression.
pub(crate) fn walk<'a>(
    expression: &'a IdedExpr,
    see: &mut impl FnMut(Part<'a>),
) -> Result<(), TooDeep> {
    let mut walk = Walk {
        bound: Vec::new(),
        see,
    };
    walk.level(expression, DEEPEST)
}

struct Walk<'a, 's, S> {
    /// By macros, the innermost last.
    bound: Vec<&'a str>,
    see: &'s mut S,
}

impl<'a, S: FnMut(Part<'a>)> Walk<'a, '_, S> {
    fn level(&mut self, part: &'a IdedExpr, levels: usize) -> Result<(), TooDeep> {
        let levels = levels.checked_sub(1).ok_or(TooDeep)?;
        match &part.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                if !self.bound.contains(&name.as_str()) {
                    (self.see)(Part::Variable(name));
                }
            }
            Expr::Call(call) => {
                (self.see)(Part::Call(call));
                if let Some(target) = &call.target {
                    self.level(target, levels)?;
                }
                self.all(&call.args, levels)?;
            }
            Expr::Select(select) => self.level(&select.operand, levels)?,
            Expr::List(list) => self.all(&list.elements, levels)?,
            Expr::Map(map) => {
                for entry in &map.entries {
                    self.entry(&entry.expr, levels)?;
                }
            }
            Expr::Struct(value) => {
                (self.see)(Part::Type(&value.type_name));
                for entry in &value.entries {
                    self.entry(&entry.expr, levels)?;
                }
            }
            Expr::Comprehension(loops) => {
                self.level(&loops.iter_range, levels)?;
                self.level(&loops.accu_init, levels)?;
                let outside = self.bound.len();
                self.bound.extend([&*loops.iter_var, &*loops.accu_var]);
                self.bound.extend(loops.iter_var2.as_deref());
                for part in [&loops.loop_cond, &loops.loop_step, &loops.result] {
                    self.level(part, levels)?;
                }
                self.bound.truncate(outside);
            }
        }
        Ok(())
    }

    fn all(&mut self, parts: &'a [IdedExpr], levels: usize) -> Result<(), TooDeep> {
        parts.iter().try_for_each(|part| self.level(part, levels))
    }

    fn entry(&mut self, entry: &'a EntryExpr, levels: usize) -> Result<(), TooDeep> {
        match entry {
            EntryExpr::StructField(field) => self.level(&field.value, levels),
            EntryExpr::MapEntry(entry) => {
                self.level(&entry.key, levels)?;
                self.level(&entry.value, levels)
            }
        }
    }
}

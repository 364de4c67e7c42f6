//! The policies that `host eval` is given.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use api::names::is_label;
use controller::policies::Policies;
use engine::{Cache, Engine, Grants, Origin, Policy, PolicyLimits};
use planner::rule::DEFAULT_POLICY;

use super::GivenRule;
use crate::input::BadInput;
use crate::{compile_policy, output};

/// Before the name of a policy that comes with this program, in the place of a file.
pub const BUILT_IN: &str = "builtin:";

/// A module, and the name by which rules name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedModule {
    name: String,
    file: PathBuf,
}

impl From<OsString> for NamedModule {
    /// `NAME=FILE`, or the file of the default policy. What stands before `=` and is no name of a policy is
    /// part of a path.
    fn from(text: OsString) -> Self {
        let bytes = text.as_bytes();
        let split = bytes.iter().position(|byte| *byte == b'=');
        let named = split.and_then(|at| {
            let (name, file) = (str::from_utf8(bytes.get(..at)?), bytes.get(at + 1..)?);
            let name = name.ok().filter(|name| is_label(name))?;
            Some((name.to_owned(), OsStr::from_bytes(file).into()))
        });
        let (name, file) = named.unwrap_or_else(|| (DEFAULT_POLICY.to_owned(), text.into()));
        Self { name, file }
    }
}

/// The policies of these files, with a folder for what was compiled, and the built-in one.
pub fn load(modules: Vec<NamedModule>, cache: Option<PathBuf>) -> anyhow::Result<Policies> {
    let engine = Engine::new(&engine::Options::one_at_a_time())?;
    let mut compiler = compile_policy::compiler();
    if let Some(folder) = cache {
        let cache = Cache::open(&folder)
            .map_err(|error| BadInput::one(format!("--policy-cache: {error}")))?;
        compiler.cache = Some(cache);
    }
    let built_in = engine.default_policy();
    let mut policies = Policies::new(built_in.context("the built-in policy cannot be loaded")?);
    let mut names = Vec::new();
    for NamedModule { name, file } in modules {
        if names.contains(&name) {
            return Err(BadInput::one(format!("--policy gives two policies for {name}")).into());
        }
        policies = policies.with(name.clone(), load_one(&engine, &file, &compiler)?);
        names.push(name);
    }
    Ok(policies)
}

fn load_one(engine: &Engine, file: &Path, compiler: &engine::Compiler) -> Result<Policy, BadInput> {
    let bytes = match file.to_str().and_then(|file| file.strip_prefix(BUILT_IN)) {
        Some(name) => engine::built_in(name)
            .map_err(|why| BadInput::one(format!("--policy {}: {why}", file.display())))?
            .to_vec(),
        None => std::fs::read(file).map_err(|error| {
            BadInput::one(format!(
                "the policy {} cannot be read: {error}",
                file.display()
            ))
        })?,
    };
    // What it asks comes from the files beside it, and nobody else has to grant that.
    let everything = PolicyLimits {
        grants: Grants::all(),
        ..PolicyLimits::default()
    };
    let policy = engine
        .load_with(&bytes, &everything, Some(compiler))
        .map_err(|error| {
            BadInput::one(format!(
                "{} cannot be used as a policy: {error}",
                file.display()
            ))
        })?;
    match policy.origin() {
        Origin::Recompiled(why) => {
            output::note(format_args!("the policy was compiled again: {why}"));
        }
        Origin::NotKept(why) => {
            output::note(format_args!("the compiled policy could not be kept: {why}"));
        }
        _ => {}
    }
    Ok(policy)
}

/// Says which of the given policies decide nothing.
pub fn tell_of_idle(modules: &[NamedModule], rules: &[GivenRule]) {
    let named = |rule: &GivenRule| {
        let policy = rule.object.spec.policy.as_ref();
        policy.map_or(DEFAULT_POLICY.to_owned(), |policy| policy.name.clone())
    };
    for NamedModule { name, file } in modules {
        if !rules.iter().any(|rule| named(rule) == *name) {
            output::note(format_args!(
                "{} decides nothing: no given rule has the policy {name}",
                file.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_the_sign_is_a_name_or_part_of_a_path() {
        for (text, name, file) in [
            ("policy.wasm", "default", "policy.wasm"),
            ("steady=policy.wasm", "steady", "policy.wasm"),
            ("default=a=b.wasm", "default", "a=b.wasm"),
            ("./steady=policy.wasm", "default", "./steady=policy.wasm"),
            ("a.b=policy.wasm", "default", "a.b=policy.wasm"),
            ("=policy.wasm", "default", "=policy.wasm"),
            ("Steady=policy.wasm", "default", "Steady=policy.wasm"),
        ] {
            let expected = NamedModule {
                name: name.to_owned(),
                file: file.into(),
            };
            assert_eq!(NamedModule::from(OsString::from(text)), expected, "{text}");
        }
    }
}

//! Every promise of `docs/compatibility.md` has a test that carries its number, and every number of a
//! test is a promise.

mod promises;
mod proofs;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};

use crate::setup;
use crate::steps::root;
use promises::{Key, Promise};
use proofs::{Outcome, Proof};

/// Where the promises stand.
const PAGE: &str = "docs/compatibility.md";

/// Prints each promise with its tests, and runs them unless only a `list` is wanted.
pub(crate) fn run(list: bool) -> anyhow::Result<()> {
    println!("== compatibility");
    let page = root().join(PAGE);
    let text = std::fs::read_to_string(&page).with_context(|| format!("{PAGE} cannot be read"))?;
    let promises = promises::read(&text, Path::new(PAGE))?;
    setup::wasm_target()?;
    let proofs = proofs::find()?;
    let mut problems = Vec::new();
    let by_key = sort(&promises, &proofs, &mut problems);
    let outcomes = if list || !problems.is_empty() {
        BTreeMap::new()
    } else {
        proofs::run(&proofs)?
    };
    for promise in &promises {
        let found: Vec<&Proof> = (promise.keys.iter())
            .flat_map(|key| by_key.get(key).into_iter().flatten().copied())
            .collect();
        print(promise, &found, &outcomes, list);
        problems.extend(judge(promise, &found));
    }
    let failed = outcomes.values().filter(|outcome| **outcome != Outcome::Ok);
    let failed = failed.count();
    if failed > 0 {
        problems.push(format!("{failed} tests failed"));
    }
    if !problems.is_empty() {
        bail!("the promises are not proven:\n  {}", problems.join("\n  "));
    }
    let tests = proofs.len();
    println!("{} promises, {tests} tests", promises.len());
    Ok(())
}

/// The tests of each promise. A test that proves nothing that was promised is a problem.
fn sort<'a>(
    promises: &[Promise],
    proofs: &'a [Proof],
    problems: &mut Vec<String>,
) -> BTreeMap<Key, Vec<&'a Proof>> {
    let mut by_key: BTreeMap<Key, Vec<&Proof>> = BTreeMap::new();
    for proof in proofs {
        match promises::keys(proof.name(), promises) {
            Ok(keys) => keys
                .into_iter()
                .for_each(|key| by_key.entry(key).or_default().push(proof)),
            Err(why) => problems.push(format!("{proof}: {why}, see {PAGE}")),
        }
    }
    by_key
}

fn judge(promise: &Promise, found: &[&Proof]) -> Option<String> {
    let place = format!("{PAGE}:{}", promise.line);
    let id = &promise.id;
    let counts = |proof: &&&Proof| !proof.ignored && proof.on_a_cluster;
    let proven = found.iter().any(|proof| counts(&proof));
    match (promise.not_yet, proven) {
        (false, false) if found.is_empty() => Some(format!("{place}: {id} has no test")),
        (false, false) => Some(format!(
            "{place}: {id} has no test in tests/cluster that is not ignored"
        )),
        (true, true) => Some(format!(
            "{place}: {id} has a test now: take off {}",
            promises::NOT_YET
        )),
        _ => None,
    }
}

fn print(promise: &Promise, found: &[&Proof], outcomes: &BTreeMap<Proof, Outcome>, list: bool) {
    let Promise { id, words, .. } = promise;
    println!("{id}: {words}");
    for proof in found {
        let outcome = match outcomes.get(proof) {
            _ if proof.ignored => "ignored",
            Some(Outcome::Ok) => "ok",
            Some(Outcome::Failed) => "FAILED",
            None if list => "",
            None => "not run",
        };
        println!("    {outcome:8}{proof}");
    }
}

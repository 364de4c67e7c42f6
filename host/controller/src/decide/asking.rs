//! What a policy says of a node, and whether it would go on saying so.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use planner::Timestamp;
use planner::bootstrap;
use planner::facts::{Node, Taint};
use planner::question::{NodeAnswers, Question, Read};
use planner::related::Related;
use planner::rule::Rule;
use planner::verdict::{Decision, Failure, TaintAction, Verdict};

use super::ActiveRule;
use super::flaps::FLAPS;
use crate::policies::Asked;

/// None: the policy has not answered yet, and the node will be due then.
pub(super) fn ask(
    node: &Arc<Node>,
    related: &Related,
    active: &ActiveRule,
    replaced: Option<&Rule>,
    now: Timestamp,
) -> Option<Asked> {
    let rule = &active.rule;
    if active.policy.is_object()
        && let Some(verdict) = (active.flaps).instead(node, Instant::now(), now)
    {
        return Some(Asked {
            verdict,
            took: None,
        });
    }
    let answers = NodeAnswers {
        node: Arc::clone(node),
        related: related.clone(),
        taint: rule.taint.clone(),
        completion: bootstrap::completion_with(node, rule, replaced),
        rebooted: bootstrap::rebooted(node, rule, replaced, now),
        now,
    };
    let mut asked = answered(active, answers.clone())?;
    if let Some((failure, reads)) = flaps(active, answers, &asked.verdict) {
        asked.verdict.result = Err(failure);
        // What it hangs on as well: each question once.
        for read in reads {
            let known = &mut asked.verdict.reads;
            if !known.iter().any(|known| known.question == read.question) {
                known.push(read);
            }
        }
    }
    Some(asked)
}

fn answered(active: &ActiveRule, mut answers: NodeAnswers) -> Option<Asked> {
    if let Some(verdict) = recalled(active, &mut answers) {
        active.policy.recalled(&active.rule, &answers.node.name);
        return Some(Asked {
            verdict,
            took: None,
        });
    }
    active.policy.ask(&active.memo, &active.rule, answers)
}

fn recalled(active: &ActiveRule, answers: &mut NodeAnswers) -> Option<Verdict> {
    let memo = active.memo.read().unwrap_or_else(PoisonError::into_inner);
    memo.recall(answers)
}

/// What a decision does to a node is a fact of that node afterwards. A policy that then decides the opposite
/// would have its taint come and go without end: it is told so before the first time, and the node stays as it
/// is. This looks only at policies that ask for the rule's own taint; what else follows from a decision, as the
/// records on the node or the taint of another rule, is not known here: such a policy is stopped by
/// [`Flaps`](super::Flaps) after some changes. A policy that fails on one of the two nodes decided nothing there:
/// then its failure is told, and what `onFailure` makes of it counts on both.
fn flaps(
    active: &ActiveRule,
    mut answers: NodeAnswers,
    verdict: &Verdict,
) -> Option<(Failure, Vec<Read>)> {
    let tainted = answers.node.has_taint(&answers.taint);
    let own = &answers.taint;
    let asks = |question: &Question| match question {
        Question::Tainted => true,
        Question::HasTaint { key, effect } => *key == own.key && *effect == own.effect,
        _ => false,
    };
    if verdict.result.is_err()
        || !verdict.reads.iter().any(|read| asks(&read.question))
        || !changes(active, verdict, tainted)
    {
        return None;
    }
    let mut node = (*answers.node).clone();
    if tainted {
        node.taints.retain(|taint| !taint.is(own));
    } else {
        node.taints.push(Taint {
            key: own.key.clone(),
            effect: Some(own.effect),
            value: String::new(),
        });
    }
    answers.node = Arc::new(node);
    // What takes its time is not asked twice: it will have answered after the first change.
    let after = recalled(active, &mut answers).or_else(|| {
        active
            .policy
            .ask_at_once(&active.memo, &active.rule, answers)
    })?;
    if !changes(active, &after, !tainted) {
        return None;
    }
    let own = &active.rule.taint;
    let (kind, message) = match after.result {
        Err(Failure { kind, message }) => {
            let (decides, there) = match tainted {
                true => ("off", "is not there"),
                false => ("on", "is there"),
            };
            let message = format!(
                "the policy wants taint '{own}' {decides} this node, and fails on the node as that makes it, where the \
                 taint {there}: {message}"
            );
            (kind, message)
        }
        Ok(_) => {
            let message = format!(
                "the policy wants taint '{own}' on this node while it is not there, and off it while it is: it would \
                 come and go for ever; its answer must not turn with the taint that follows from it"
            );
            (FLAPS, message)
        }
    };
    Some((Failure { kind, message }, after.reads))
}

/// Would it change a node that is tainted like this? Who completes a bootstrap does so once.
fn changes(active: &ActiveRule, verdict: &Verdict, tainted: bool) -> bool {
    let instead = active.policy.instead(verdict);
    let verdict = instead.as_ref().unwrap_or(verdict);
    match &verdict.result {
        Ok(Decision {
            complete_bootstrap: true,
            ..
        })
        | Err(_) => false,
        Ok(decision) => match decision.taint {
            TaintAction::Present => !tainted,
            TaintAction::Absent => tainted,
            TaintAction::Keep => false,
        },
    }
}

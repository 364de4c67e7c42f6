//! The same decision without a sandbox: same questions, same record, same findings.

use std::time::Duration;

use planner::question::{Answer, Answers, Question, Read};
use planner::rule::{Enforcement, Matching, Rule, Status};
use planner::verdict::{Decision, Failure, Finding, Subject, TaintAction, Verdict};

pub(crate) fn evaluate(rule: &Rule, answers: Box<dyn Answers>) -> Verdict {
    let mut record = Record {
        answers,
        reads: Vec::new(),
    };
    let result = decide(rule, &mut record);
    Verdict {
        result,
        reads: record.reads,
    }
}

struct Record {
    answers: Box<dyn Answers>,
    reads: Vec<Read>,
}

impl Record {
    fn ask(&mut self, question: Question) -> bool {
        let known = self.reads.iter().position(|read| read.question == question);
        let index = known.unwrap_or_else(|| {
            let (answer, until) = self.answers.answer(&question);
            self.reads.push(Read {
                question,
                answer,
                until,
            });
            self.reads.len() - 1
        });
        self.reads[index].answer == Answer::Bool(true)
    }
}

fn decide(rule: &Rule, record: &mut Record) -> Result<Decision, Failure> {
    let decisive = rule.matching == Matching::AnyOf;
    let mut satisfied = !decisive;
    let mut findings = Vec::with_capacity(rule.requirements.len());
    for (index, requirement) in rule.requirements.iter().enumerate() {
        let condition = || requirement.condition.clone();
        let met = record.ask(Question::ConditionIs {
            condition: condition(),
            status: requirement.required,
            at_least: Duration::ZERO,
        }) || requirement.fallback.unwrap_or(Status::Unknown) == requirement.required
            && !record.ask(Question::HasCondition {
                condition: condition(),
            });
        let subject = Subject::Requirement(index);
        findings.push(Finding { subject, met });
        if met == decisive {
            satisfied = decisive;
            break;
        }
    }
    if rule.enforcement != Enforcement::Continuous {
        return Err(Failure {
            kind: "PolicyError",
            message: "not measured here".into(),
        });
    }
    let (taint, reason) = if satisfied {
        (TaintAction::Absent, "ConditionsMet")
    } else {
        (TaintAction::Present, "ConditionsNotMet")
    };
    Ok(Decision {
        taint,
        complete_bootstrap: false,
        per_boot: false,
        reason: reason.into(),
        message: String::new(),
        findings,
    })
}

//! One call of a policy, seen from inside: what it may ask, and how much it may take.

mod beyond;

use std::sync::Arc;
use std::time::Duration;

use planner::Timestamp;
use planner::pods::Label;
use planner::question::{Answer, Answers, Completion, Question, Read};
use planner::rule::{Rule, Status};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{ResourceLimiter, Result};

use crate::class::Allowance;
use crate::contract::{bootstrap, csi, daemonsets, devices, lease, node, pods, rule, time, types};
use crate::failure::Stop;
use crate::grants::Grants;

/// The most that crosses from a policy to the host at once, in bytes.
pub(crate) const TRANSFER: usize = 1 << 20;

/// Different questions in one call: ten for each of the most conditions that a rule can have, and
/// more.
const QUESTIONS: usize = 1024;

/// Bytes of names in the questions of one call.
const QUESTION_BYTES: usize = 256 << 10;

/// What is called: it decides what may be asked.
pub(crate) enum Call {
    Describe,
    Check(Arc<Rule>),
    Evaluate(Arc<Rule>, Box<dyn Answers>),
}

/// State of one call.
pub(crate) struct Sandbox {
    call: Call,
    allowance: Allowance,
    /// Bytes of all its memories.
    memory: usize,
    reads: Vec<Read>,
    bytes: usize,
}

impl Sandbox {
    pub(crate) fn new(call: Call, allowance: Allowance) -> Self {
        Self {
            call,
            allowance,
            memory: 0,
            reads: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn into_reads(self) -> Vec<Read> {
        self.reads
    }

    fn rule(&self, asked: &'static str) -> Result<&Rule, Stop> {
        match &self.call {
            Call::Check(rule) | Call::Evaluate(rule, _) => Ok(rule),
            Call::Describe => Err(Stop::NotAllowed {
                asked,
                call: "describe",
                allowed: "nothing",
            }),
        }
    }

    /// Asks once and records it; a repeat is answered from the record.
    fn ask(&mut self, question: Question) -> Result<&Answer, Stop> {
        let (call, allowed) = match &mut self.call {
            Call::Evaluate(_, answers) => {
                let known = self.reads.iter().position(|read| read.question == question);
                let index = match known {
                    Some(index) => index,
                    None => {
                        self.bytes += bytes(&question);
                        if self.reads.len() == QUESTIONS {
                            return Err(Stop::Questions("1024 different questions"));
                        }
                        if self.bytes > QUESTION_BYTES {
                            return Err(Stop::Questions("256 KiB of questions"));
                        }
                        let (answer, until) = answers.answer(&question);
                        self.reads.push(Read {
                            question,
                            answer,
                            until,
                        });
                        self.reads.len() - 1
                    }
                };
                return Ok(&self.reads[index].answer);
            }
            Call::Check(_) => ("check", "only `rule`"),
            Call::Describe => ("describe", "nothing"),
        };
        Err(Stop::NotAllowed {
            asked: name(&question),
            call,
            allowed,
        })
    }

    fn yes(&mut self, question: Question) -> Result<bool> {
        match self.ask(question)? {
            Answer::Bool(yes) => Ok(*yes),
            _ => Err(Stop::WrongAnswer.into()),
        }
    }

    fn text(&mut self, question: Question) -> Result<Option<String>> {
        match self.ask(question)? {
            Answer::Text(text) => Ok(text.clone()),
            _ => Err(Stop::WrongAnswer.into()),
        }
    }

    fn status(&mut self, question: Question) -> Result<Option<Status>> {
        match self.ask(question)? {
            Answer::Status(status) => Ok(*status),
            // The forms of "none" are the same in a record that was read from a file.
            Answer::Text(None) => Ok(None),
            _ => Err(Stop::WrongAnswer.into()),
        }
    }

    fn completion(&mut self, question: Question) -> Result<Completion> {
        match self.ask(question)? {
            Answer::Completion(completion) => Ok(*completion),
            _ => Err(Stop::WrongAnswer.into()),
        }
    }
}

/// What the names in a question take.
fn bytes(question: &Question) -> usize {
    match question {
        Question::HasCondition { condition }
        | Question::ConditionIs { condition, .. }
        | Question::HeartbeatWithin { condition, .. }
        | Question::Condition { condition }
        | Question::ConditionReason { condition }
        | Question::ReportedThisBoot { condition } => condition.len(),
        Question::HasTaint { key, .. } | Question::Label { key } | Question::Annotation { key } => {
            key.len()
        }
        Question::Tainted
        | Question::Unschedulable
        | Question::OlderThan { .. }
        | Question::Name
        | Question::Completed
        | Question::Reached { .. }
        | Question::HasLease
        | Question::RenewedWithin { .. } => 0,
        Question::AllocatableAtLeast { resource, .. } => resource.len(),
        Question::HasDriver { driver }
        | Question::AllPoolsComplete { driver }
        | Question::HasDevices { driver, .. } => driver.len(),
        Question::HasTopologyKey { driver, key } => driver.len() + key.len(),
        Question::HasPod { pods }
        | Question::HasReadyPod { pods, .. }
        | Question::AllPodsReady { pods, .. }
        | Question::HasPodInPhase { pods, .. } => {
            let controller = pods.controller.as_ref();
            let controller = controller.map_or(0, |wanted| wanted.kind.len() + wanted.name.len());
            controller + names(&pods.namespace, &pods.labels)
        }
        Question::HasDaemonSet { daemon_sets }
        | Question::AllDaemonSetPodsReady { daemon_sets, .. } => {
            names(&daemon_sets.namespace, &daemon_sets.labels)
        }
    }
}

fn names(namespace: &Option<String>, labels: &[Label]) -> usize {
    let labels = labels.iter();
    let labels: usize = labels
        .map(|label| label.key.len() + label.value.len())
        .sum();
    labels + namespace.as_ref().map_or(0, String::len)
}

/// As the contract calls it.
fn name(question: &Question) -> &'static str {
    match question {
        Question::HasCondition { .. } => "node.has-condition",
        Question::ConditionIs { .. } => "node.condition-is",
        Question::HeartbeatWithin { .. } => "node.heartbeat-within",
        Question::Condition { .. } => "node.condition",
        Question::ConditionReason { .. } => "node.condition-reason",
        Question::Tainted => "node.tainted",
        Question::HasTaint { .. } => "node.has-taint",
        Question::Unschedulable => "node.unschedulable",
        Question::OlderThan { .. } => "node.older-than",
        Question::AllocatableAtLeast { .. } => "node.allocatable-at-least",
        Question::Label { .. } => "node.label",
        Question::Annotation { .. } => "node.annotation",
        Question::Name => "node.name",
        Question::Completed => "bootstrap.completed",
        Question::ReportedThisBoot { .. } => "bootstrap.reported-this-boot",
        Question::Reached { .. } => "time.reached",
        Question::HasPod { .. } => "pods.has-pod",
        Question::HasReadyPod { .. } => "pods.has-ready-pod",
        Question::AllPodsReady { .. } => "pods.all-pods-ready",
        Question::HasPodInPhase { .. } => "pods.has-pod-in-phase",
        Question::HasLease => "lease.has-lease",
        Question::RenewedWithin { .. } => "lease.renewed-within",
        Question::HasDriver { .. } => "csi.has-driver",
        Question::HasTopologyKey { .. } => "csi.has-topology-key",
        Question::AllPoolsComplete { .. } => "devices.all-pools-complete",
        Question::HasDevices { .. } => "devices.has-devices",
        Question::HasDaemonSet { .. } => "daemonsets.has-daemon-set",
        Question::AllDaemonSetPodsReady { .. } => "daemonsets.all-daemon-set-pods-ready",
    }
}

/// What a policy with these grants can import.
pub(crate) fn link(linker: &mut Linker<Sandbox>, grants: Grants) -> Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    if grants.has("node") {
        node::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("rule") {
        rule::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("bootstrap") {
        bootstrap::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("time") {
        time::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("pods") {
        pods::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("lease") {
        lease::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("csi") {
        csi::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("devices") {
        devices::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    if grants.has("daemonsets") {
        daemonsets::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)?;
    }
    Ok(())
}

impl types::Host for Sandbox {}

impl node::Host for Sandbox {
    fn has_condition(&mut self, condition: String) -> Result<bool> {
        self.yes(Question::HasCondition { condition })
    }

    fn condition_is(
        &mut self,
        condition: String,
        status: types::Status,
        at_least: u64,
    ) -> Result<bool> {
        self.yes(Question::ConditionIs {
            condition,
            status: status.into(),
            at_least: Duration::from_millis(at_least),
        })
    }

    fn heartbeat_within(&mut self, condition: String, at_most: u64) -> Result<bool> {
        self.yes(Question::HeartbeatWithin {
            condition,
            at_most: Duration::from_millis(at_most),
        })
    }

    fn condition(&mut self, condition: String) -> Result<Option<types::Status>> {
        let status = self.status(Question::Condition { condition })?;
        Ok(status.map(Into::into))
    }

    fn condition_reason(&mut self, condition: String) -> Result<Option<String>> {
        self.text(Question::ConditionReason { condition })
    }

    fn tainted(&mut self) -> Result<bool> {
        self.yes(Question::Tainted)
    }

    fn has_taint(&mut self, key: String, effect: types::Effect) -> Result<bool> {
        let effect = effect.into();
        self.yes(Question::HasTaint { key, effect })
    }

    fn unschedulable(&mut self) -> Result<bool> {
        self.yes(Question::Unschedulable)
    }

    fn older_than(&mut self, at_least: u64) -> Result<bool> {
        let at_least = Duration::from_millis(at_least);
        self.yes(Question::OlderThan { at_least })
    }

    fn allocatable_at_least(&mut self, resource: String, at_least: u64) -> Result<bool> {
        self.yes(Question::AllocatableAtLeast { resource, at_least })
    }

    fn label(&mut self, key: String) -> Result<Option<String>> {
        self.text(Question::Label { key })
    }

    fn annotation(&mut self, key: String) -> Result<Option<String>> {
        self.text(Question::Annotation { key })
    }

    fn name(&mut self) -> Result<String> {
        let name = self.text(Question::Name)?;
        Ok(name.unwrap_or_default())
    }
}

impl rule::Host for Sandbox {
    fn name(&mut self) -> Result<String> {
        Ok(self.rule("rule.name")?.name.clone())
    }

    fn requirements(&mut self) -> Result<Vec<types::Requirement>> {
        let rule = self.rule("rule.requirements")?;
        Ok(rule.requirements.iter().map(Into::into).collect())
    }

    fn match_policy(&mut self) -> Result<types::Matching> {
        Ok(self.rule("rule.match-policy")?.matching.into())
    }

    fn mode(&mut self) -> Result<types::Enforcement> {
        Ok(self.rule("rule.mode")?.enforcement.into())
    }

    fn parameters(&mut self) -> Result<String> {
        Ok(self.rule("rule.parameters")?.parameters.clone())
    }
}

impl bootstrap::Host for Sandbox {
    fn completed(&mut self) -> Result<types::Completion> {
        let completion = self.completion(Question::Completed)?;
        Ok(completion.into())
    }

    fn reported_this_boot(&mut self, condition: String) -> Result<bool> {
        self.yes(Question::ReportedThisBoot { condition })
    }
}

impl time::Host for Sandbox {
    fn reached(&mut self, at: u64) -> Result<bool> {
        // Beyond the last year that a time stamp can have: never.
        let at = i64::try_from(at).ok();
        let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
        self.yes(Question::Reached {
            at: at.unwrap_or(Timestamp::MAX),
        })
    }
}

/// Where a policy wants more than it may have, it is stopped: one that goes on with a failed
/// allocation could decide otherwise than with a little more memory.
impl ResourceLimiter for Sandbox {
    fn memory_growing(&mut self, now: usize, wanted: usize, _: Option<usize>) -> Result<bool> {
        // All of them together: a policy that brings a runtime may have several.
        let wanted = self.memory.saturating_sub(now).saturating_add(wanted);
        if wanted > self.allowance.memory {
            return Err(Stop::Memory { wanted }.into());
        }
        self.memory = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> Result<bool> {
        let most = self.allowance.shape.elements;
        if wanted > most {
            return Err(Stop::Table { wanted, most }.into());
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        match error.downcast_ref::<std::io::Error>() {
            Some(_) => Err(Stop::NoMemory.into()),
            // A limit that the policy has set itself: it knows what to do.
            None => Ok(()),
        }
    }

    fn memories(&self) -> usize {
        self.allowance.shape.memories as usize
    }

    fn tables(&self) -> usize {
        self.allowance.shape.tables as usize
    }

    fn instances(&self) -> usize {
        self.allowance.shape.instances as usize
    }
}

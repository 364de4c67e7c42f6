//! What a cleanup does to rules, and how it knows that nobody undoes it.

use std::time::Duration;

use api::NodeReadinessRule;
use api::rule::status::{Condition, NodeReadinessRuleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use planner::Timestamp;
use planner::rule::Status;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Cleanup, CleanupError, request};
use crate::client::{RequestError, TIMEOUT, patch_metadata, patch_status};
use crate::rules::has_finalizer;

/// Within this time a host that runs beside has put a finalizer back that it misses. One that answers sooner is
/// seen sooner.
const REACTS: Duration = Duration::from_secs(5);
/// So often it is looked.
const LOOKS: Duration = Duration::from_millis(100);
/// Reason of `Ready` of a rule that no host minds any more.
const NO_HOST: &str = "CleanedUp";

impl Cleanup {
    /// Did somebody put back what was taken? One who holds no lease, or another. Where none of the rules is left
    /// there is nothing to wait for.
    pub(super) async fn until_nobody_reacts(
        &self,
        before: &[NodeReadinessRule],
    ) -> Result<(), CleanupError> {
        let end = Instant::now() + REACTS;
        loop {
            let mut rules = self.rules(ListParams::default()).await?;
            rules.retain(|rule| {
                let is_it = |before: &NodeReadinessRule| before.uid() == rule.uid();
                rule.metadata.deletion_timestamp.is_none() && before.iter().any(is_it)
            });
            if let Some(rule) = rules.iter().find(|rule| has_finalizer(rule)) {
                let rule = rule.name_any();
                return Err(CleanupError::PutBack { rule });
            }
            if rules.is_empty() || Instant::now() >= end {
                return Ok(());
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// What a status says of nodes is so no more, and nobody is there to say what is.
    pub(super) async fn reset_status(
        &mut self,
        object: &NodeReadinessRule,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), CleanupError> {
        let goes = object.metadata.deletion_timestamp.is_some();
        let Some(status) = object.status.as_ref().filter(|_| !goes) else {
            return Ok(());
        };
        let is_reset = |ready: &Condition| ready.r#type == "Ready" && ready.reason == NO_HOST;
        if status.nodes.is_none() && status.conditions.iter().any(is_reset) {
            return Ok(());
        }
        let generation = object.metadata.generation;
        let ready = Condition {
            r#type: "Ready".to_owned(),
            status: Status::Unknown,
            observed_generation: generation,
            last_transition_time: Time(Timestamp::now()),
            reason: NO_HOST.to_owned(),
            message:
                "`host cleanup` took back what the rule did, and no host has looked at it since"
                    .to_owned(),
        };
        let status = NodeReadinessRuleStatus {
            observed_generation: generation,
            conditions: vec![ready],
            ..NodeReadinessRuleStatus::default()
        };
        let name = object.name_any();
        let what = format!("the status of rule {name} cannot be written");
        if !self.options.dry_run {
            let patch = json_patch(
                &what,
                json!([
                    { "op": "test", "path": "/metadata/uid", "value": object.uid() },
                    { "op": "add", "path": "/status", "value": status },
                ]),
            )?;
            let api = Api::<NodeReadinessRule>::all(self.client.clone());
            match patch_status(&api, &name, patch, TIMEOUT).await {
                Ok(_) | Err(RequestError::NotFound(_)) => {}
                Err(error) => return Err(request(&what, &error)),
            }
        }
        say(&format!("rule/{name}: status {}", self.past("reset")));
        Ok(())
    }

    pub(super) async fn remove_finalizer(
        &mut self,
        object: &NodeReadinessRule,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), CleanupError> {
        let finalizers = object.finalizers();
        let ours = |finalizer: &String| finalizer == api::rule::FINALIZER;
        let Some(index) = finalizers.iter().position(ours) else {
            return Ok(());
        };
        let name = object.name_any();
        let what = format!("the finalizer of rule {name} cannot be removed");
        if !self.options.dry_run {
            let patch = json_patch(
                &what,
                json!([
                    { "op": "test", "path": "/metadata/uid", "value": object.uid() },
                    { "op": "test", "path": "/metadata/finalizers", "value": finalizers },
                    { "op": "remove", "path": format!("/metadata/finalizers/{index}") },
                ]),
            )?;
            let api = Api::<NodeReadinessRule>::all(self.client.clone());
            match patch_metadata(&api, &name, patch, TIMEOUT).await {
                Ok(_) | Err(RequestError::NotFound(_)) => {}
                Err(error) => return Err(request(&what, &error)),
            }
        }
        say(&format!("rule/{name}: finalizer {}", self.past("removed")));
        self.summary.finalizers += 1;
        Ok(())
    }
}

fn json_patch(what: &str, operations: Value) -> Result<json_patch::Patch, CleanupError> {
    serde_json::from_value(operations).map_err(|error| CleanupError::Request {
        what: what.to_owned(),
        why: error.to_string(),
    })
}

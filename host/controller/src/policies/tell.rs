//! What is told of a policy: its status, and events.

use std::time::Duration;

use api::ReadinessPolicy;
use api::rule::status::Condition;
use fetch::Signer;
use kube::{Api, ResourceExt};
use planner::Timestamp;
use planner::rule::Status;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::bring::Brought;
use super::known::{self, Known};
use super::order::Place;
use super::status::{FAILING, Found, Good, MOST_VERSION, READY, compose};
use super::trouble::{Step, Trouble};
use super::work::Keeper;
use crate::client::{RequestError, patch_status};
use crate::events::Object;
use crate::metrics::Write;
use crate::status::clip;

/// A module that is there by then is told of once, when it decides.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How far a module is on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct OnWay {
    /// None: it is not known yet what is to be brought.
    step: Option<Trouble>,
    digest: Option<String>,
    signer: Option<Signer>,
}

impl OnWay {
    pub(super) fn fetching(place: &Place) -> Self {
        Self {
            step: Some(Trouble::fetching(format!("{place} is being fetched"))),
            ..Self::default()
        }
    }

    pub(super) fn compiling(place: &Place, brought: &Brought) -> Self {
        let digest = brought.digest.clone();
        let message = format!("{digest} of {place} is being compiled");
        Self {
            step: Some(Trouble::compiling(message)),
            digest: Some(digest),
            signer: brought.signer.clone(),
        }
    }
}

impl Keeper {
    /// Tells of a module that takes its time, once for each step; until nobody brings it any more. What decides
    /// goes on meanwhile.
    pub(super) async fn tell_on_way(
        &self,
        object: &ReadinessPolicy,
        known: &mut Known,
        mut on_way: watch::Receiver<OnWay>,
    ) {
        sleep(AT_ONCE).await;
        loop {
            let now = on_way.borrow_and_update().clone();
            if now.step.is_some() {
                self.is_on_way(object, known, now).await;
            }
            if on_way.changed().await.is_err() {
                return;
            }
        }
    }

    async fn is_on_way(&self, object: &ReadinessPolicy, known: &mut Known, now: OnWay) {
        let policy = object.name_any();
        if known.good.is_none() {
            // Else rules are told that there is no such policy.
            known.trouble.clone_from(&now.step);
            self.exchange(&policy, known);
        }
        // Who does not lead has nothing to tell.
        if self.shared.nodes_due.is_paused() {
            return;
        }
        let found = Found {
            digest: now.digest.as_deref(),
            signer: now.signer.as_ref(),
            trouble: now.step.as_ref(),
            ..known.found()
        };
        match self.write(object, found, &known.told).await {
            Ok(Some(told)) => known.told = told,
            Ok(None) => {}
            Err(error) => {
                warn!(policy, %error, "it cannot be told that the module of the policy is on its way");
            }
        }
    }

    /// Writes the status if it says something new. What was told then; none: the policy is gone.
    async fn write(
        &self,
        object: &ReadinessPolicy,
        found: Found<'_>,
        told: &[Condition],
    ) -> Result<Option<Vec<Condition>>, RequestError> {
        let stored = object.status.as_ref();
        let before = match told {
            [] => stored
                .map(|stored| stored.conditions.as_slice())
                .unwrap_or_default(),
            told => told,
        };
        let decides = found.good.is_some();
        let desired = compose(found, before, Timestamp::now());
        let name = object.name_any();
        let mut ready = desired.conditions.iter();
        let ready = ready.any(|found| found.r#type == READY && found.status == Status::True);
        let metrics = &self.shared.metrics;
        metrics.set_policy(&name, ready, decides && !ready);
        if stored != Some(&desired) {
            let patch = serde_json::from_value(json!([
                { "op": "test", "path": "/metadata/uid", "value": object.uid() },
                { "op": "add", "path": "/status", "value": &desired },
            ]));
            let patch = patch.map_err(|error| RequestError::Other(error.to_string()))?;
            let api = Api::<ReadinessPolicy>::all(self.shared.client.clone());
            let answer = patch_status(&api, &name, patch, self.shared.limits.timeout).await;
            metrics.wrote(Write::PolicyStatus, &answer);
            match answer {
                Err(RequestError::NotFound(_)) => return Ok(None),
                answer => answer.map(drop)?,
            }
        }
        Ok(Some(desired.conditions))
    }

    /// Writes the status if it says something new, and events of what it says.
    pub(super) async fn tell(
        &self,
        object: &ReadinessPolicy,
        known: &mut Known,
    ) -> Result<(), RequestError> {
        let found = known.found();
        let Some(desired) = self.write(object, found, &known.told).await? else {
            return Ok(());
        };
        let (stored, name) = (object.status.as_ref(), object.name_any());
        known.told = desired;
        let policy = Object::Policy {
            name: &name,
            uid: &known.uid,
        };
        let events = &self.shared.events;
        let good = known.good.as_ref().filter(|_| known.lacks.is_none());
        if let Some(Good {
            policy: of, digest, ..
        }) = good
            && known.decides.as_ref() != Some(digest)
        {
            // Else the host that led before told it.
            if known::decides(stored) != Some(digest.as_str()) {
                let version = clip(of.version(), MOST_VERSION);
                let before = known.decides.as_ref();
                let before =
                    before.map_or_else(String::new, |before| format!(", in the place of {before}"));
                let note = format!("Module {digest}, version {version}, decides now{before}");
                events.inform(policy, "PolicyDecides", note);
            }
            known.decides = Some(digest.clone());
        }
        let failing = known
            .told
            .iter()
            .find(|condition| condition.r#type == FAILING);
        match failing.filter(|failing| failing.status == Status::True) {
            Some(failing) => {
                let note = format!("Policy fails ({}): {}", failing.reason, failing.message);
                events.warn(policy, "PolicyFails", &failing.reason, note);
            }
            None => events.settled(&known.uid, "PolicyFails"),
        }
        for step in Step::ALL {
            let mut troubles = known.lacks.iter().chain(&known.trouble);
            match troubles.find(|trouble| trouble.step == step && !trouble.is_a_wait()) {
                Some(trouble) => {
                    let mut told = known.told.iter();
                    let ready = told.find(|condition| condition.r#type == READY);
                    let note = ready.map_or_else(String::new, |ready| ready.message.clone());
                    events.warn(policy, step.event(), &trouble.reason, note);
                }
                None => events.settled(&known.uid, step.event()),
            }
        }
        Ok(())
    }
}

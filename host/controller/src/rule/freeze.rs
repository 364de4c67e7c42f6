//! The annotation that freezes every rule, as a rule gets it and hands it on.

use api::NodeReadinessRule;
use kube::ResourceExt;
use kube::api::Api;

use super::patch;
use crate::client::{RequestError, patch_metadata};
use crate::events::Object;
use crate::freeze::{self, FREEZE};
use crate::metrics::Write;
use crate::shared::Shared;

/// Says in the cluster that every rule is frozen: it has to outlive this process, and it is released
/// by hand. False: there is nothing that this rule has to say.
pub(super) async fn write(
    shared: &Shared,
    object: &NodeReadinessRule,
) -> Result<bool, RequestError> {
    let rules = shared.rules();
    let to_write = rules.frozen.as_ref().filter(|frozen| !frozen.written);
    let Some(frozen) = to_write.filter(|frozen| frozen.is_of(object)) else {
        return Ok(false);
    };
    let written = send(shared, object, freeze::put(object, &frozen.why)).await;
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let rule = Object::Rule {
        name: &name,
        uid: &uid,
    };
    let why = &frozen.why;
    match (&written, &frozen.heir_of) {
        (Err(RequestError::Refused(refusal)), heir_of) => {
            shared.freeze_refused(&uid, refusal);
            if let Some(before) = heir_of {
                shared.rules_due.add(before.rule.clone());
            }
            let note = format!(
                "Every rule is frozen, and this one cannot be given annotation {FREEZE}, which says so: {refusal}; it is tried again. Why they are frozen: {why}"
            );
            shared.events.warn(rule, "FreezeNotWritten", &uid, note);
        }
        (Ok(()), Some(before)) => {
            let before = &before.rule;
            let note = format!(
                "Every rule stays frozen: rule '{before}' is deleted, and this one carries annotation {FREEZE} from now on; take it off here to release them. Why they are frozen: {why}"
            );
            shared.events.warn(rule, "FreezeCarriedOn", before, note);
        }
        _ => {}
    }
    written.map(|()| true)
}

/// May a rule go, as far as it is about the freeze?
pub(super) enum HandOver {
    Done,
    /// Another rule is about to carry it on. This one is looked at again then.
    Awaited,
    /// The same, but the API server is against it.
    Refused {
        heir: String,
        why: String,
    },
}

/// Before a rule goes that carries the freeze, another one has to carry it; and one of them is enough,
/// or whoever takes it off that one would release nothing.
pub(super) async fn hand_over(
    shared: &Shared,
    object: &NodeReadinessRule,
) -> Result<HandOver, RequestError> {
    if !freeze::carries(object) {
        return Ok(HandOver::Done);
    }
    let rules = shared.rules();
    match &rules.frozen {
        Some(frozen) if frozen.written && !frozen.is_of(object) => {
            match send(shared, object, freeze::take_off(object)).await {
                // It goes with the rule.
                Err(RequestError::Refused(_)) => Ok(HandOver::Done),
                sent => sent.map(|()| HandOver::Done),
            }
        }
        Some(frozen) => Ok(match shared.why_not_frozen(frozen) {
            Some(why) => HandOver::Refused {
                heir: frozen.rule.clone(),
                why,
            },
            None => HandOver::Awaited,
        }),
        None => {
            let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
            let rule = Object::Rule {
                name: &name,
                uid: &uid,
            };
            let note = format!(
                "The rule carries annotation {FREEZE}, and no other rule is left to carry it on: rules that are created from now on are not frozen"
            );
            shared.events.warn(rule, "Thawed", &uid, note);
            Ok(HandOver::Done)
        }
    }
}

async fn send(
    shared: &Shared,
    object: &NodeReadinessRule,
    change: serde_json::Value,
) -> Result<(), RequestError> {
    let api = Api::<NodeReadinessRule>::all(shared.client.clone());
    let (name, timeout) = (object.name_any(), shared.limits.timeout);
    let answer = patch_metadata(&api, &name, patch(change)?, timeout).await;
    shared.metrics.wrote(Write::RuleFreeze, &answer);
    match answer {
        Ok(_) | Err(RequestError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

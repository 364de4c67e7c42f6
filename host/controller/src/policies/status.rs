//! The status of a `ReadinessPolicy`.

use api::policy::ReadinessPolicyStatus;
use api::rule::status::Condition;
use engine::Policy;
use fetch::Signer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use planner::Timestamp;
use planner::rule::Status;

use super::guard::Paused;
use super::trouble::{Step, Trouble};
use super::{Guard, RulePolicy};
use crate::status::clip;

/// The condition that sums up the others.
pub(super) const READY: &str = "Ready";
/// The condition of a module that is not asked for a while.
pub(super) const FAILING: &str = "Failing";
/// The most bytes of what a policy says its version is: a table has a column of it.
pub(crate) const MOST_VERSION: usize = 64;
/// The longest message, in bytes.
const MESSAGE: usize = 4096;
/// Longer ones are left out of the status: half of one is none.
const PARAMETERS: usize = 65_536;

/// The module that decides.
#[derive(Debug, Clone)]
pub(super) struct Good {
    pub(super) policy: RulePolicy,
    pub(super) digest: String,
    /// Who signed it, where somebody had to.
    pub(super) signer: Option<Signer>,
}

/// How it is with the module that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) generation: Option<i64>,
    /// What it was found to be, where that is known.
    pub(super) digest: Option<&'a str>,
    /// Who signed it.
    pub(super) signer: Option<&'a Signer>,
    /// Why it does not decide; none: it does.
    pub(super) trouble: Option<&'a Trouble>,
    /// The one that decides, if any does.
    pub(super) good: Option<&'a Good>,
    /// Why that one does not decide for now.
    pub(super) lacks: Option<&'a Trouble>,
}

impl Found<'_> {
    /// What decides, where that is the module that is wanted although it cannot be brought: it was before, and
    /// was kept.
    fn kept(&self) -> Option<&Good> {
        let is_away = self
            .trouble
            .is_some_and(|trouble| trouble.step == Step::Fetched && !trouble.is_under_way());
        let good = self.good.filter(|_| is_away)?;
        (self.digest == Some(good.digest.as_str())).then_some(good)
    }
}

/// The status, with the times of conditions that are as they were. While another module is under way, what it says of
/// the one that decides is about the generation that asked for that one.
pub(super) fn compose(
    found: Found<'_>,
    before: &[Condition],
    now: Timestamp,
) -> ReadinessPolicyStatus {
    let under_way = found.trouble.is_some_and(Trouble::is_under_way);
    let goes_on = before
        .iter()
        .find(|condition| condition.r#type == READY && condition.status == Status::True)
        .filter(|_| under_way && found.lacks.is_none());
    let goes_on = found.good.zip(goes_on);
    let decides = goes_on.map_or(found.generation, |(_, ready)| ready.observed_generation);
    let steps = Step::ALL.into_iter().map(|step| {
        let (status, reason, message) = step_of(step, &found);
        (step.condition(), status, reason, message)
    });
    let (status, reason, message) = match (goes_on, found.trouble) {
        (Some((good, _)), Some(trouble)) => {
            let message = format!("{} decides, and {}", good.digest, trouble.message);
            (Status::True, "Decides".to_owned(), message)
        }
        _ => ready(&found),
    };
    let all = steps.chain([(READY, status, reason, message)]);
    let all = all.chain(found.good.map(failing));
    let conditions = all.map(|(r#type, status, reason, message)| {
        let mut same = before.iter();
        let same = same.find(|condition| condition.r#type == r#type && condition.status == status);
        Condition {
            r#type: r#type.to_owned(),
            status,
            observed_generation: match r#type {
                READY | FAILING => decides,
                _ => found.generation,
            },
            last_transition_time: same.map_or(Time(now), |same| same.last_transition_time.clone()),
            reason,
            message: clip(&message, MESSAGE),
        }
    });
    let policy = found.good.map(|good| &*good.policy);
    let imports = policy.into_iter().flat_map(Policy::imports);
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ReadinessPolicyStatus {
        observed_generation: decides,
        conditions: conditions.collect(),
        digest: goes_on
            .map(|(good, _)| good.digest.as_str())
            .or(found.digest)
            .map(str::to_owned),
        last_good_digest: found.good.map(|good| good.digest.clone()),
        version: policy.and_then(|policy| text(&clip(policy.version(), MOST_VERSION))),
        contract: policy.and_then(|policy| text(policy.contract())),
        imports: imports
            .map(|import| import.interface.clone())
            .take(64)
            .collect(),
        parameters: policy
            .and_then(|policy| text(policy.parameters()))
            .filter(|schema| schema.len() <= PARAMETERS),
    }
}

fn step_of(step: Step, found: &Found<'_>) -> (Status, String, String) {
    let kept = found.kept();
    let lacks = found.lacks.filter(|trouble| trouble.step == step);
    match lacks.or(found.trouble) {
        Some(trouble) if trouble.step == step => (
            trouble.status(),
            trouble.reason.clone(),
            trouble.message.clone(),
        ),
        Some(trouble) if trouble.step < step && kept.is_none() => {
            let message = format!("waits for {}", trouble.step.condition());
            (Status::Unknown, "Waits".to_owned(), message)
        }
        _ => {
            let signer = kept.map_or(found.signer, |kept| kept.signer.as_ref());
            let (reason, message) = match (step, signer) {
                (Step::Fetched, _) => ("Fetched", found.digest.unwrap_or_default().to_owned()),
                (Step::Verified, Some(Signer::Key(key))) => {
                    ("Signed", format!("signed with the key {key}"))
                }
                (Step::Verified, Some(Signer::Identity(who))) => {
                    ("Signed", format!("signed by {who}"))
                }
                (Step::Verified, None) => {
                    ("NotRequired", "nobody has to have signed it".to_owned())
                }
                (Step::Compatible, _) => ("Compatible", String::new()),
                (Step::FactsAvailable, _) => ("Available", String::new()),
            };
            (Status::True, reason.to_owned(), message)
        }
    }
}

fn ready(found: &Found<'_>) -> (Status, String, String) {
    if let (Some(trouble), Some(kept), None) = (found.trouble, found.kept(), found.lacks) {
        let message = format!(
            "{} decides, which was kept from when it was last brought: {}",
            kept.digest, trouble.message
        );
        return (Status::True, "Decides".to_owned(), message);
    }
    let good = found.good.filter(|_| found.lacks.is_none());
    match (found.lacks.or(found.trouble), good) {
        (None, _) => {
            let message = format!("{} decides", found.digest.unwrap_or_default());
            (Status::True, "Decides".to_owned(), message)
        }
        (Some(trouble), Some(good)) => {
            let message = format!(
                "the last good module {} goes on: {}",
                good.digest, trouble.message
            );
            (trouble.status(), trouble.reason.clone(), message)
        }
        (Some(trouble), None) => {
            let message = format!(
                "no module decides, and rules that name it are Stalled: {}",
                trouble.message
            );
            (trouble.status(), trouble.reason.clone(), message)
        }
    }
}

/// Does the module that decides fail again and again?
fn failing(good: &Good) -> (&'static str, Status, String, String) {
    match good.policy.guard().and_then(Guard::paused) {
        Some(Paused { until, last }) => {
            let message = format!(
                "it failed again and again and is not asked before {until}; the last time: {}",
                last.message
            );
            (FAILING, Status::True, last.kind.to_owned(), message)
        }
        None => (FAILING, Status::False, "Works".to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use fetch::Identity;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_module_that_is_under_way_is_unknown_and_the_one_that_decides_stays_what_it_was() {
        let engine = engine::Engine::new(&engine::Options::one_at_a_time()).unwrap();
        let fetching = Trouble::fetching("b is being fetched".to_owned());
        let compiling = Trouble::compiling("b is being compiled".to_owned());
        let of = |trouble, digest, good| Found {
            generation: Some(2),
            digest,
            signer: None,
            trouble: Some(trouble),
            good,
            lacks: None,
        };
        let (yes, unknown) = (Status::True, Status::Unknown);
        let first = compose(of(&fetching, None, None), &[], at(1));
        let all: Vec<_> = first.conditions.iter().collect();
        assert!(all.iter().all(|condition| condition.status == unknown));
        assert_eq!((&*all[0].reason, &*all[4].reason), ("Fetching", "Fetching"));
        assert!(all[4].message.contains("Stalled: b is being fetched"));
        assert_eq!(first.observed_generation, Some(2));
        let then = compose(
            of(&compiling, Some("sha256:b"), None),
            &first.conditions,
            at(2),
        );
        let found: Vec<_> = statuses(&then)
            .into_iter()
            .map(|(_, status)| status)
            .collect();
        assert_eq!(found, [yes, yes, unknown, unknown, unknown]);
        assert_eq!(then.conditions[2].reason, "Compiling");
        assert_eq!(then.digest.as_deref(), Some("sha256:b"));

        // Beside one that decides.
        let good = Good {
            policy: engine.default_policy().unwrap().into(),
            digest: "sha256:a".to_owned(),
            signer: None,
        };
        let decided = Found {
            generation: Some(1),
            digest: Some("sha256:a"),
            signer: None,
            trouble: None,
            good: Some(&good),
            lacks: None,
        };
        let decided = compose(decided, &[], at(1));
        for (trouble, digest) in [(&fetching, None), (&compiling, Some("sha256:b"))] {
            let found = of(trouble, digest, Some(&good));
            let told = compose(found, &decided.conditions, at(2));
            let ready = &told.conditions[4];
            assert_eq!((ready.status, &*ready.reason), (yes, "Decides"));
            assert_eq!(ready.last_transition_time.0, at(1));
            let says = format!("sha256:a decides, and {}", trouble.message);
            assert_eq!(ready.message, says);
            let generations = told.conditions.iter().map(|one| one.observed_generation);
            let generations: Vec<_> = generations.flatten().collect();
            assert_eq!(generations, [2, 2, 2, 2, 1, 1]);
            // What was taken for a generation is pinned by these two.
            assert_eq!(told.observed_generation, Some(1));
            assert_eq!(told.digest.as_deref(), Some("sha256:a"));
            let step = told
                .conditions
                .iter()
                .find(|one| one.reason == trouble.reason);
            assert_eq!(step.unwrap().status, unknown);

            // One that went on in the place of another is not what is wanted.
            let mut before = decided.conditions.clone();
            before[4].status = Status::False;
            let told = compose(found, &before, at(2));
            let ready = &told.conditions[4];
            assert_eq!((ready.status, &*ready.reason), (unknown, &*trouble.reason));
            assert!(
                ready
                    .message
                    .contains("the last good module sha256:a goes on")
            );
            assert_eq!(told.observed_generation, Some(2));
        }
    }

    fn statuses(status: &ReadinessPolicyStatus) -> Vec<(&str, Status)> {
        let conditions = status.conditions.iter();
        conditions
            .map(|condition| (condition.r#type.as_str(), condition.status))
            .collect()
    }

    #[test]
    fn the_step_that_failed_says_why_and_the_last_good_one_is_told() {
        let engine = engine::Engine::new(&engine::Options::one_at_a_time()).unwrap();
        let policy = engine.default_policy().unwrap();
        let signer = Identity::new("https://issuer.example.com", "release@example.com").unwrap();
        let signer = Signer::Identity(signer);
        let good = Good {
            policy: policy.into(),
            digest: "sha256:good".to_owned(),
            signer: Some(signer.clone()),
        };
        let fine = Found {
            generation: Some(1),
            digest: Some("sha256:good"),
            signer: Some(&signer),
            trouble: None,
            good: Some(&good),
            lacks: None,
        };
        let before = compose(fine, &[], at(1));
        let (yes, no) = (Status::True, Status::False);
        assert_eq!(
            statuses(&before),
            [
                ("Fetched", yes),
                ("Verified", yes),
                ("Compatible", yes),
                ("FactsAvailable", yes),
                ("Ready", yes),
                ("Failing", no)
            ]
        );
        assert!(
            before.version.is_some() && before.contract.is_some() && !before.imports.is_empty()
        );
        assert!(
            before.conditions[1]
                .message
                .contains("signed by release@example.com (issuer https://issuer.example.com)")
        );

        let trouble = Trouble::passing(Step::Verified, "Unsigned", "it is not signed");
        let broken = Found {
            generation: Some(2),
            digest: None,
            signer: None,
            trouble: Some(&trouble),
            ..fine
        };
        let after = compose(broken, &before.conditions, at(2));
        assert_eq!(
            statuses(&after),
            [
                ("Fetched", yes),
                ("Verified", no),
                ("Compatible", Status::Unknown),
                ("FactsAvailable", Status::Unknown),
                ("Ready", no),
                ("Failing", no)
            ]
        );
        assert_eq!(after.last_good_digest.as_deref(), Some("sha256:good"));
        assert_eq!(after.observed_generation, Some(2));
        let ready = &after.conditions[4];
        assert_eq!(ready.reason, "Unsigned");
        assert!(
            ready.message.contains("sha256:good") && ready.message.contains("it is not signed")
        );
        // Fetched is as it was, since when it was.
        let times: Vec<_> = after
            .conditions
            .iter()
            .map(|found| found.last_transition_time.0)
            .collect();
        assert_eq!(times, [at(1), at(2), at(2), at(2), at(2), at(1)]);

        // The one that is wanted was kept from before.
        let away = Trouble::passing(Step::Fetched, "Unreachable", "nobody answers");
        let kept = Found {
            signer: None,
            trouble: Some(&away),
            ..fine
        };
        let status = compose(kept, &[], at(2));
        assert_eq!(
            statuses(&status),
            [
                ("Fetched", no),
                ("Verified", yes),
                ("Compatible", yes),
                ("FactsAvailable", yes),
                ("Ready", yes),
                ("Failing", no)
            ]
        );
        let says = |index: usize| status.conditions[index].message.as_str();
        assert!(
            says(1).contains("signed by release@example.com (issuer https://issuer.example.com)"),
            "{}",
            says(1)
        );
        assert!(
            says(4).contains("was kept") && says(4).contains("nobody answers"),
            "{}",
            says(4)
        );
        let another = Found {
            digest: Some("sha256:other"),
            ..kept
        };
        let status = compose(another, &[], at(2));
        assert_eq!(statuses(&status)[4], ("Ready", no));

        let none = compose(
            Found {
                good: None,
                ..broken
            },
            &[],
            at(2),
        );
        assert!(none.conditions[4].message.contains("Stalled") && none.version.is_none());
        assert_eq!(none.last_good_digest, None);

        // A good one that cannot be told what it asks about decides nothing, whatever else is wrong.
        let lacks = Trouble::lasting(Step::FactsAvailable, "Forbidden", "it asks about pods");
        for found in [fine, broken, kept] {
            let found = Found {
                lacks: Some(&lacks),
                ..found
            };
            let told = compose(found, &[], at(3));
            let [facts, ready] = [3, 4].map(|index| &told.conditions[index]);
            assert_eq!((facts.status, ready.status), (no, no));
            assert_eq!((&*facts.reason, &*ready.reason), ("Forbidden", "Forbidden"));
            assert!(ready.message.contains("Stalled: it asks about pods"));
            assert_eq!(told.last_good_digest.as_deref(), Some("sha256:good"));
        }
    }
}

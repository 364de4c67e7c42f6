//! What a policy wants is brought, loaded, compared and exchanged, and told (`tell`).

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::ReadinessPolicy;
use engine::{Compiler, Engine};
use fetch::Digest;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use planner::related::Kind;
use planner::rule::Rule;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::admit;
use super::aside::{Wake, Woken};
use super::bring::bring;
use super::kept;
use super::known::{Asked, Attempt, Known, apart};
use super::order::Order;
use super::status::{Good, MOST_VERSION};
use super::tell::OnWay;
use super::trust::keyless;
use super::turns::{Turn, Turns};
use super::watch::First;
use crate::client::RequestError;
use crate::queue::LAST_RETRY;
use crate::shared::Shared;
use crate::status::clip;

/// Keeps the policies as their objects want them.
pub(crate) struct Keeper {
    pub(super) shared: Arc<Shared>,
    objects: Store<ReadinessPolicy>,
    engine: Engine,
    compiler: Option<Compiler>,
    trusted_root: Option<PathBuf>,
    first: Arc<First>,
    turns: Turns,
    /// What is worked on is not in there.
    known: Mutex<HashMap<String, Known>>,
    /// What each policy asks about beyond the node, also those that are worked on.
    asks: Mutex<HashMap<String, BTreeSet<Kind>>>,
}

impl Keeper {
    pub(crate) fn new(
        shared: Arc<Shared>,
        objects: Store<ReadinessPolicy>,
        engine: Engine,
        compiler: Option<Compiler>,
        trusted_root: Option<PathBuf>,
        first: Arc<First>,
    ) -> Self {
        Self {
            shared,
            objects,
            engine,
            compiler,
            trusted_root,
            first,
            turns: Turns::default(),
            known: Mutex::default(),
            asks: Mutex::default(),
        }
    }

    /// Takes policies from the queue for ever. All that there are may be under way: most of it is waiting for
    /// others, and the queue never hands out a policy that somebody works on.
    pub(crate) async fn work(self) {
        let keeper = Arc::new(self);
        let mut working = JoinSet::new();
        loop {
            tokio::select! {
                name = keeper.shared.policies_due.take() => {
                    let keeper = Arc::clone(&keeper);
                    working.spawn(async move { keeper.work_on(name).await });
                }
                Some(done) = working.join_next() => {
                    if let Err(error) = done && error.is_panic() {
                        resume_unwind(error.into_panic());
                    }
                }
            }
        }
    }

    async fn work_on(&self, name: String) {
        let told = self.reconcile(&name).await;
        let due = &self.shared.policies_due;
        match told {
            Ok(()) => due.succeed(&name),
            Err(RequestError::NotLeading(_)) => {} // the next term will bring it back
            Err(error) => {
                warn!(policy = name, %error, "the status of the policy could not be written; it will be tried again");
                due.retry(name.clone(), LAST_RETRY);
            }
        }
        let waits = self.known().get(&name).is_some_and(Known::waits_for_facts);
        if !waits {
            self.first.tried(&name);
        }
        self.shared.policies_due.done(&name);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // No code that can panic runs under the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconcile(&self, name: &str) -> Result<(), RequestError> {
        let object = self.objects.get(&ObjectRef::new(name));
        let object = object.filter(|object| object.meta().deletion_timestamp.is_none());
        let Some(object) = object else {
            let known = self.known().remove(name);
            if known.is_some() {
                info!(
                    policy = name,
                    "the policy is gone: rules that name it are Stalled"
                );
                self.shared.policies.change(|all| all.without(name));
                self.shared.metrics.forget_policy(name);
                self.shared.policy_changed(name);
                self.want_facts(name, BTreeSet::new());
            }
            return Ok(());
        };
        self.shared.metrics.keep_policy(name);
        let uid = object.uid().unwrap_or_default();
        let asked = Asked::of(&object);
        let known = self.known().remove(name);
        let mut known = match known {
            Some(known) if known.uid == uid => known,
            _ => Known::new(uid, &object),
        };
        if known.is_untried() && known.good.is_none() {
            known.good = self.kept(&object).await;
            if known.good.is_some() {
                // Rules need not wait until it is known what has become of it.
                self.want_facts(name, known.asks());
                known.check_facts(&self.shared.related);
                self.exchange(name, &known);
                self.first.tried(name);
            }
        }
        let now = Instant::now();
        let is_new = known.asked != asked || known.is_untried();
        if is_new || known.again.is_some_and(|again| again <= now) {
            let pin = known.pin(&object, &asked);
            if is_new {
                known.failures = 0;
            }
            let is_news = is_new && known.is_news(&object, &asked);
            known.asked = asked;
            let (uid, wanted) = (known.uid.clone(), known.asked.clone());
            let withdrawn = self.withdrawn(name, &uid, &wanted);
            let mut withdrawn = pin!(withdrawn);
            let (on_way, told_of) = watch::channel(OnWay::default());
            let attempt = self.attempt(&object, pin, &on_way);
            let telling = async {
                if is_news {
                    self.tell_on_way(&object, &mut known, told_of).await;
                }
                pending().await
            };
            let attempt = tokio::select! {
                biased;
                () = &mut withdrawn => None,
                attempt = attempt => Some(attempt),
                never = telling => never,
            };
            let taken = match attempt {
                None => false,
                Some(attempt) => tokio::select! {
                    biased;
                    () = &mut withdrawn => false,
                    () = known.take(attempt, self.rules(name), &self.shared.related) => true,
                },
            };
            if !taken {
                // Nobody wants it any more, so it does not decide, and is not told of: what is wanted now is next.
                self.known().insert(name.to_owned(), known);
                return Ok(());
            }
            known.revoke(&object);
        } else if known.candidate.is_some() {
            known.compare(self.rules(name), &self.shared.related).await;
        }
        known.check_facts(&self.shared.related);
        if let Some(again) = known.again {
            let wait = again.saturating_duration_since(Instant::now());
            self.shared.policies_due.add_after(name.to_owned(), wait);
        }
        self.exchange(name, &known);
        let told = self.tell(&object, &mut known).await;
        self.want_facts(name, known.asks());
        self.known().insert(name.to_owned(), known);
        told
    }

    /// Comes when this is not what the object asks for any more.
    async fn withdrawn(&self, name: &str, uid: &str, asked: &Asked) {
        let mut seen = self.shared.policies_seen.subscribe();
        let asks = |object: &ReadinessPolicy| {
            object.uid().as_deref() == Some(uid)
                && object.meta().deletion_timestamp.is_none()
                && Asked::of(object) == *asked
        };
        while (self.objects.get(&ObjectRef::new(name))).is_some_and(|object| asks(&object)) {
            if seen.changed().await.is_err() {
                // This host ends.
                pending::<()>().await;
            }
        }
    }

    /// Watches what some policy asks about, and nothing else.
    fn want_facts(&self, policy: &str, asks: BTreeSet<Kind>) {
        // No code that can panic runs under the lock.
        let mut all = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(policy.to_owned(), asks);
        all.retain(|_, asks| !asks.is_empty());
        let kinds = all.values().flatten().copied().collect();
        self.shared.related.want(kinds);
    }

    /// The usable rules that name a policy.
    fn rules(&self, policy: &str) -> Vec<Arc<Rule>> {
        let prefixes = &self.shared.limits.prefixes;
        let objects = self.shared.objects.state();
        let rules = objects
            .iter()
            .filter_map(|object| object.to_rule(prefixes).ok());
        rules
            .filter(|rule| rule.policy == policy && !rule.terminating)
            .map(Arc::new)
            .collect()
    }

    /// Brings back who waited for an answer of a policy.
    fn wake(&self) -> Wake {
        // The policies are a part of it.
        let shared = Arc::downgrade(&self.shared);
        Arc::new(move |woken| {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            match woken {
                Woken::Node(node) => shared.nodes_due.add(node.to_owned()),
                Woken::NewNodes(rule) => shared.status_due(rule),
                Woken::Rule(rule) => {
                    shared.refresh_rules();
                    shared.status_due(rule);
                }
            }
        })
    }

    /// What decided before this host began, where it was kept.
    async fn kept(&self, object: &ReadinessPolicy) -> Option<Good> {
        let cache = self.compiler.as_ref()?.cache.clone()?;
        let digest = object.status.as_ref()?.last_good_digest.clone()?;
        let order = Order::of(&object.spec).ok()?;
        // Whoever asks for identities trusts nobody without a trust root, also not what was kept.
        keyless(&order.identities, self.trusted_root.as_deref())
            .await
            .ok()?;
        let (engine, compiler) = (self.engine.clone(), self.compiler.clone());
        let wake = self.wake();
        let load = move || {
            let Some(kept) = kept::find(&cache, &digest, &order.keys, &order.identities) else {
                return Ok(None);
            };
            let policy = admit::load(&engine, compiler.as_ref(), &kept, &order)?;
            Ok(Some(Good {
                policy: policy.aside(wake),
                digest,
                signer: kept.signer,
            }))
        };
        match apart(load).await {
            Ok(good) => good,
            Err(trouble) => {
                let policy = object.name_any();
                warn!(
                    policy,
                    error = trouble.message,
                    "the module that was kept is not used"
                );
                None
            }
        }
    }

    /// Brings the module, and loads it.
    async fn attempt(
        &self,
        object: &ReadinessPolicy,
        pin: Option<Digest>,
        on_way: &watch::Sender<OnWay>,
    ) -> Attempt {
        let shared = &self.shared;
        let mut turn: Option<Turn> = None;
        let brought = async {
            let order = Order::of(&object.spec)?;
            on_way.send_replace(OnWay::fetching(&order.place));
            let keyless = keyless(&order.identities, self.trusted_root.as_deref()).await?;
            if let Some(host) = order.place.host() {
                turn = Some(self.turns.to_fetch(host).await);
            }
            let timeout = shared.limits.timeout;
            let brought = bring(&shared.client, timeout, &order, pin, keyless.as_ref()).await?;
            // Others of the same registry need not wait until this is compiled.
            turn.iter_mut().for_each(Turn::fetched);
            Ok((order, brought))
        };
        let (order, brought) = match brought.await {
            Ok(brought) => brought,
            Err(trouble) => {
                return Attempt {
                    // What is pinned stays so, also for the next start.
                    digest: pin.map(|pin| pin.to_string()),
                    signer: None,
                    policy: Err(trouble),
                };
            }
        };
        on_way.send_replace(OnWay::compiling(&order.place, &brought));
        let (digest, signer) = (Some(brought.digest.clone()), brought.signer.clone());
        let (size, wake) = (brought.bytes.len(), self.wake());
        let (engine, compiler) = (self.engine.clone(), self.compiler.clone());
        let loading = self.turns.to_load(size).await;
        // It is not stopped where nobody wants the module any more: it ends by itself, and counts until then.
        let load = move || {
            let _turns = (loading, turn);
            let policy = admit::load(&engine, compiler.as_ref(), &brought, &order)?;
            if let Some(cache) = compiler.and_then(|compiler| compiler.cache) {
                kept::keep(&cache, &brought);
            }
            Ok(policy.aside(wake))
        };
        let policy = apart(load).await;
        Attempt {
            digest,
            signer,
            policy,
        }
    }

    /// Lets rules see what changed.
    pub(super) fn exchange(&self, name: &str, known: &Known) {
        let shared = &self.shared;
        let policies = shared.policies.get();
        let asks = Rule {
            policy: name.to_owned(),
            ..admit::trial()
        };
        let now = policies.of(&asks);
        let trouble = known.lacks.as_ref().or(known.trouble.as_ref());
        match (
            known.good.as_ref().filter(|_| known.lacks.is_none()),
            trouble,
        ) {
            (Some(good), _) => {
                if now.is_ok_and(|policy| policy.is(&good.policy)) {
                    return;
                }
                let next = good.policy.clone();
                info!(
                    policy = name,
                    digest = good.digest,
                    version = clip(next.version(), MOST_VERSION),
                    "another module decides now"
                );
                shared
                    .policies
                    .change(|all| all.with(name.to_owned(), next));
            }
            (None, trouble) => {
                let why = trouble.map_or_else(String::new, |trouble| trouble.message.clone());
                if now.is_err_and(|error| error.why.as_ref() == Some(&why)) {
                    return;
                }
                shared
                    .policies
                    .change(|all| all.with_unready(name.to_owned(), why));
            }
        }
        shared.policy_changed(name);
    }
}

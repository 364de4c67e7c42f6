//! One scrape: what was counted, and what is counted now, from memory.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use api::NodeReadinessRule;
use planner::Timestamp;
use planner::rule::{Enforcement, Rule};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Error, IntGauge, IntGaugeVec, Opts, TextEncoder};

use crate::metrics::{Metrics, process};
use crate::shared::Shared;

impl Shared {
    /// All metrics now, in the text format 0.0.4, sorted by name. Takes locks briefly, rule by rule.
    pub(crate) fn scrape(&self) -> Result<String, Error> {
        let metrics = &self.metrics;
        metrics.queues.set("node", self.nodes_due.state());
        let policies = self.policies_due.state();
        metrics.queues.set("readinesspolicy", policies);
        metrics
            .queues
            .set("nodereadinessrule", self.rules_due.state());
        for (name, paused) in self.policies.get().paused() {
            metrics.set_paused(name, paused);
        }
        let mut page = Page::default();
        page.add(metrics.registry.gather());
        page.add(metrics.of_rules());
        page.add(metrics.of_policies());
        page.add(metrics.of_webhook()?);
        page.add(rules(self.objects.state().iter().map(AsRef::as_ref))?);
        page.add(self.nodes()?);
        page.add(process::collect()?);
        page.print()
    }

    fn nodes(&self) -> Result<Vec<MetricFamily>, Error> {
        let by_rule = gauges(
            "node_readiness_rule_nodes",
            "Nodes that the rule holds, and those that it lets be. Rules with dryRun have none.",
            &["rule", "state"],
        )?;
        let by_state = gauges(
            "node_readiness_nodes_by_state",
            "Nodes without the rule's taint (ready), and with it (bootstrapping, or not_ready where the rule is continuous).",
            &["rule", "state"],
        )?;
        let over_budget = gauges(
            "node_readiness_rule_nodes_over_budget",
            "Nodes that the rule would hold if its budget had room. Rules without a budget have none.",
            &["rule"],
        )?;
        let too_long = gauges(
            "node_readiness_rule_nodes_held_too_long",
            "Nodes that the rule holds for longer than --held-warning-after says.",
            &["rule"],
        )?;
        let frozen = IntGauge::new(
            "node_readiness_rules_frozen",
            "1 while every rule is frozen, by annotation or by the alarm; else 0.",
        )?;
        let rules = self.rules();
        frozen.set(i64::from(rules.frozen.is_some()));
        let limit = self.limits.held_too_long;
        let long_ago = limit.and_then(|limit| Timestamp::now().checked_sub(limit).ok());
        // One that does not lead decides about no node, and knows of none.
        let leads = !self.nodes_due.is_paused();
        for active in rules.active.iter().filter(|_| leads) {
            let rule: &Rule = &active.rule;
            if rule.dry_run || rule.terminating {
                continue;
            }
            let name = rule.name.as_str();
            let tally = self.ledger().tally(&rule.uid, long_ago);
            let [held, released] = [tally.held, tally.released].map(count);
            let set = |gauges: &IntGaugeVec, state: &str, number: i64| {
                gauges.with_label_values(&[name, state]).set(number);
            };
            set(&by_rule, "held", held);
            set(&by_rule, "released", released);
            if self.metrics.node_states {
                let bootstraps = rule.enforcement == Enforcement::BootstrapOnly;
                set(&by_state, "ready", released);
                set(&by_state, "not_ready", if bootstraps { 0 } else { held });
                set(
                    &by_state,
                    "bootstrapping",
                    if bootstraps { held } else { 0 },
                );
            }
            if rule.budget.is_some() {
                let waiting = over_budget.with_label_values(&[name]);
                waiting.set(count(tally.over_budget));
            }
            if limit.is_some() {
                let held = too_long.with_label_values(&[name]);
                held.set(count(tally.held_too_long));
            }
        }
        let mut families = frozen.collect();
        for gauges in [by_rule, by_state, over_budget, too_long] {
            families.extend(gauges.collect());
        }
        Ok(families)
    }
}

impl Metrics {
    /// How long the webhook's certificate is good, where the webhook is served.
    fn of_webhook(&self) -> Result<Vec<MetricFamily>, Error> {
        let Some(served) = self.webhook.get() else {
            return Ok(Vec::new());
        };
        let until = IntGauge::new(
            "node_readiness_webhook_certificate_expiry_timestamp_seconds",
            "When the webhook's certificate expires, as Unix time; 0 while there is none, and the API server cannot ask.",
        )?;
        until.set(served.until().map_or(0, Timestamp::as_second));
        Ok(until.collect())
    }

    fn of_rules(&self) -> Vec<MetricFamily> {
        let rules: Vec<_> = {
            let known = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            known.values().cloned().collect()
        };
        rules.iter().flat_map(|rule| rule.collect()).collect()
    }
}

/// How many rules there are.
fn rules<'a>(
    objects: impl Iterator<Item = &'a NodeReadinessRule>,
) -> Result<Vec<MetricFamily>, Error> {
    let total = IntGauge::new(
        "node_readiness_rules_total",
        "Rules that exist. The same as the sum of node_readiness_rules.",
    )?;
    let by_mode = gauges(
        "node_readiness_rules",
        "Rules that exist.",
        &["enforcement_mode", "dry_run"],
    )?;
    for object in objects {
        total.inc();
        let dry_run = object.spec.dry_run == Some(true);
        let mode = object.spec.enforcement_mode.as_str();
        by_mode
            .with_label_values(&[mode, if dry_run { "true" } else { "false" }])
            .inc();
    }
    let mut families = total.collect();
    families.extend(by_mode.collect());
    Ok(families)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Families by name: a family stands in the text once, whoever has a part of it.
#[derive(Debug, Default)]
struct Page(BTreeMap<String, MetricFamily>);

impl Page {
    fn add(&mut self, families: Vec<MetricFamily>) {
        for mut family in families {
            // The encoder refuses an empty one.
            if family.get_metric().is_empty() {
                continue;
            }
            match self.0.get_mut(family.name()) {
                Some(known) => known.mut_metric().extend(family.take_metric()),
                None => {
                    self.0.insert(family.name().to_owned(), family);
                }
            }
        }
    }

    fn print(mut self) -> Result<String, Error> {
        for family in self.0.values_mut() {
            let labels = |metric: &prometheus::proto::Metric| -> Vec<String> {
                let labels = metric.get_label().iter();
                labels.map(|label| label.value().to_owned()).collect()
            };
            family.mut_metric().sort_by_cached_key(labels);
        }
        let families: Vec<_> = self.0.into_values().collect();
        TextEncoder::new().encode_to_string(&families)
    }
}

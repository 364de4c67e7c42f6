//! Raw JSON to the API server, so that a case sends exactly what it says.

use api::check::{self, Problem};
use cluster_tests::Cluster;
use http::{Method, Request};
use kube::{Client, Error};
use serde_json::{Value, json};

pub(crate) const PATH: &str = "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules";

/// What the API server said.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It took the object, and returned it so.
    Taken(Value),
    /// It refused, for these reasons: `field: message`, sorted.
    Refused(Vec<String>),
}

/// A connection, and what went wrong so far.
pub(crate) struct Server {
    client: Client,
    failures: Vec<String>,
}

impl Server {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            client: cluster.client.clone(),
            failures: Vec::new(),
        }
    }

    pub(crate) fn failures(self) -> Vec<String> {
        self.failures
    }

    /// Something that must be so.
    pub(crate) fn expect(&mut self, met: bool, what: impl FnOnce() -> String) {
        if !met {
            self.failures.push(what());
        }
    }

    /// The next cases would make no sense.
    fn give_up(&self, why: &str) -> ! {
        panic!("{why}\nbefore that: {}", self.failures.join("\n"))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        match self.send(Method::GET, path, &Value::Null).await {
            Answer::Taken(value) => value,
            Answer::Refused(why) => self.give_up(&format!("GET {path}: {why:?}")),
        }
    }

    /// Creates for good.
    pub(crate) async fn create(&self, object: &Value) -> Value {
        match self.send(Method::POST, PATH, object).await {
            Answer::Taken(value) => value,
            Answer::Refused(why) => self.give_up(&format!("{object} was refused: {why:?}")),
        }
    }

    pub(crate) async fn delete(&self, name: &str) {
        let path = format!("{PATH}/{name}");
        match self.send(Method::DELETE, &path, &json!({})).await {
            Answer::Taken(_) => {}
            Answer::Refused(why) => self.give_up(&format!("DELETE {path}: {why:?}")),
        }
    }

    /// Sends it, and reads the reasons of a refusal.
    pub(crate) async fn send(&self, method: Method, path: &str, object: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/json")
            .body(serde_json::to_vec(object).unwrap())
            .unwrap();
        match self.client.request::<Value>(request).await {
            Ok(value) => Answer::Taken(value),
            Err(Error::Api(status)) => {
                let causes = status.details.as_ref().map(|details| &details.causes);
                let causes = causes.into_iter().flatten();
                let mut reasons: Vec<_> = causes
                    // What comes of a schema error: CEL was not asked.
                    .filter(|cause| !cause.message.contains("validation rules were not checked"))
                    .map(|cause| format!("{}: {}", cause.field, cause.message))
                    .collect();
                if reasons.is_empty() {
                    reasons.push(status.message.clone());
                }
                reasons.sort();
                Answer::Refused(reasons)
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Would it be created?
    pub(crate) async fn would_create(&self, object: &Value) -> Answer {
        let path = format!("{PATH}?dryRun=All&fieldValidation=Strict");
        self.send(Method::POST, &path, object).await
    }

    /// A case: this object is created, and our own offline check agrees.
    pub(crate) async fn accepts(&mut self, case: &str, object: &Value) {
        let answer = self.would_create(object).await;
        self.expect(matches!(answer, Answer::Taken(_)), || {
            format!("{case}: the API server does not take {object}: {answer:?}")
        });
        let offline = check::check(object, &Default::default());
        self.expect(offline.is_empty(), || {
            format!("{case}: the offline check does not take {object}: {offline:?}")
        });
    }

    /// A case: this object is refused for exactly these reasons, `field: message`, and our own
    /// offline check says the same.
    pub(crate) async fn refuses(&mut self, case: &str, object: &Value, reasons: &[&str]) {
        let answer = self.would_create(object).await;
        self.same(case, &answer, reasons);
        let mut offline: Vec<_> = (check::check(object, &Default::default()).iter())
            .map(Problem::to_string)
            .collect();
        offline.sort();
        let mut expected: Vec<_> = reasons.iter().map(|reason| plain(reason)).collect();
        expected.sort();
        self.expect(offline == expected, || {
            format!("{case}: the offline check says {offline:?}, and should {expected:?}")
        });
    }

    /// A case: the answer is a refusal for exactly these reasons.
    pub(crate) fn same(&mut self, case: &str, answer: &Answer, reasons: &[&str]) {
        let mut expected: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        expected.sort();
        self.expect(
            matches!(answer, Answer::Refused(found) if *found == expected),
            || format!("{case}:\n  expected {expected:?}\n  found    {answer:?}"),
        );
    }
}

/// A reason without the value that the API server puts before the message of a CEL rule.
fn plain(reason: &str) -> String {
    reason.replacen(": Invalid value: taint ", ": taint ", 1)
}

/// A rule that is right, with one change: `null` removes a field.
pub(crate) fn rule(place: &str, value: Value) -> Value {
    let mut rule = json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": {"name": "case"},
        "spec": {
            "conditions": [{"type": "example.com/A", "requiredStatus": "True"}],
            "enforcementMode": "continuous",
            "taint": {"key": "readiness.k8s.io/case", "effect": "NoSchedule"},
            "nodeSelector": {"matchLabels": {"a": "b"}}}});
    set(&mut rule, place, value);
    rule
}

/// Sets a field, or removes it with `null`; an empty place changes nothing.
pub(crate) fn set(object: &mut Value, place: &str, value: Value) {
    let Some((parent, field)) = place.rsplit_once('/') else {
        return;
    };
    match object.pointer_mut(parent).unwrap() {
        Value::Object(map) if value.is_null() => drop(map.remove(field)),
        parent => parent[field] = value,
    }
}

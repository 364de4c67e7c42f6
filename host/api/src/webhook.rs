//! How the API server is told to ask the host about rules.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::NodeReadinessRule;

/// Name of the webhook inside its configuration.
pub const NAME: &str = "vnodereadinessrule.readiness.node.x-k8s.io";
/// Where it is served.
pub const PATH: &str = "/validate-readiness-node-x-k8s-io-v1alpha1-nodereadinessrule";
/// The port it is served at.
pub const PORT: u16 = 9443;

/// The webhook's configuration, with the name that it shall have. `client` says where the host is
/// reached: by a service or by a URL, both with [`PATH`].
///
/// A rule is refused while nobody answers. Deletions are not asked about, nor is what must never hang:
/// the removal of a finalizer, and a status or metadata that somebody writes.
pub fn configuration(name: &str, client: WebhookClientConfig) -> ValidatingWebhookConfiguration {
    let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect());
    let condition = |name: &str, expression: &str| MatchCondition {
        name: name.to_owned(),
        expression: expression.to_owned(),
    };
    let webhook = ValidatingWebhook {
        name: NAME.to_owned(),
        client_config: client,
        admission_review_versions: vec!["v1".to_owned()],
        failure_policy: Some("Fail".to_owned()),
        match_policy: Some("Equivalent".to_owned()),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(10),
        rules: Some(vec![RuleWithOperations {
            api_groups: words(&[&NodeReadinessRule::group(&())]),
            api_versions: words(&[&NodeReadinessRule::version(&())]),
            operations: words(&["CREATE", "UPDATE"]),
            resources: words(&[&NodeReadinessRule::plural(&())]),
            scope: Some("Cluster".to_owned()),
        }]),
        match_conditions: Some(vec![
            condition(
                "is-not-terminating",
                "!has(object.metadata.deletionTimestamp)",
            ),
            condition(
                "changes-the-spec",
                "request.operation == 'CREATE' || object.spec != oldObject.spec",
            ),
        ]),
        ..ValidatingWebhook::default()
    };
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        webhooks: Some(vec![webhook]),
    }
}

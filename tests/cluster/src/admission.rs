//! An operator's own admission, that is against what the host wants to write.

use control_plane::ControlPlane;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{Cluster, wait};

const NAME: &str = "not-wanted";
const PROBE: PatchParams = PatchParams {
    dry_run: true,
    force: false,
    field_manager: None,
    field_validation: None,
};

impl Cluster {
    /// Lets pass only updates of nodes for which the expression holds, and waits until `probe`, a merge patch
    /// of node-1, is refused.
    ///
    /// # Errors
    /// The policy is not taken, or refuses nothing within a minute.
    pub async fn keep_out(
        &self,
        expression: &str,
        reason: &str,
        probe: Value,
    ) -> anyhow::Result<()> {
        install(&self.plane, &["", "v1", "nodes"], expression, reason)?;
        let (nodes, patch) = (self.nodes(), Patch::Merge(probe));
        wait::until_true("the admission policy is in force", || async {
            Ok(nodes.patch("node-1", &PROBE, &patch).await.is_err())
        })
        .await
    }

    /// The same of rules; `probe` is a merge patch of this one.
    ///
    /// # Errors
    /// As [`Cluster::keep_out`].
    pub async fn keep_out_of_rules(
        &self,
        expression: &str,
        rule: &str,
        probe: Value,
    ) -> anyhow::Result<()> {
        let of = ["readiness.node.x-k8s.io", "v1alpha1", "nodereadinessrules"];
        install(&self.plane, &of, expression, "Invalid")?;
        let (rules, patch) = (self.rules(), Patch::Merge(probe));
        wait::until_true("the admission policy is in force", || async {
            Ok(rules.patch(rule, &PROBE, &patch).await.is_err())
        })
        .await
    }

    /// Nobody is against anything any more.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn admit(&self) -> anyhow::Result<()> {
        let binding = ["delete", "validatingadmissionpolicybinding", NAME];
        self.plane.kubectl_ok(&binding).map(drop)
    }
}

fn install(
    plane: &ControlPlane,
    [group, version, resource]: &[&str; 3],
    expression: &str,
    reason: &str,
) -> anyhow::Result<()> {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [group], "apiVersions": [version], "operations": ["UPDATE"], "resources": [resource],
            }] },
            "validations": [{ "expression": expression, "reason": reason, "message": "not wanted here" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": NAME }, "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    });
    let file = plane.folder().join("admission.yaml");
    std::fs::write(&file, format!("{policy}\n---\n{binding}"))?;
    plane.kubectl_ok(&["apply", "-f", &file.to_string_lossy()])?;
    Ok(())
}

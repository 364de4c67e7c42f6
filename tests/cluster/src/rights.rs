//! What a host may that is nobody in particular.

/// What keeps rules enforced and says so, without leases, policies or anything else.
const RIGHTS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: host}
rules:
- {apiGroups: [''], resources: [nodes], verbs: [get, list, watch, patch]}
- {apiGroups: [readiness.node.x-k8s.io], resources: [nodereadinessrules, nodereadinessrules/status, nodereadinessrules/finalizers], verbs: [get, list, watch, patch, update]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: host}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: host}
subjects: [{kind: User, name: USER, apiGroup: rbac.authorization.k8s.io}]
";

/// The rights to enforce rules, for this user: a manifest. Nothing else is granted.
pub fn rights_of(user: &str) -> String {
    RIGHTS.replace("USER", user)
}

//! `ReadinessPolicy`, group `readiness.node.x-k8s.io`, version `v1alpha1`: where a policy's module comes
//! from, who must have signed it, and what it may do.
//!
//! Words with a fixed choice are strings here, as in [`rule`](crate::rule). The doc comments are what
//! `kubectl explain` prints.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::rule::status::Condition;

/// Where the module of a policy comes from, and what it may do.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "readiness.node.x-k8s.io",
    version = "v1alpha1",
    kind = "ReadinessPolicy",
    doc = "A ReadinessPolicy is a WebAssembly module that decides for the NodeReadinessRules that name it. A new module takes the place of the one before only where every step of its status is reached; until then the last good one goes on.",
    plural = "readinesspolicies",
    singular = "readinesspolicy",
    shortname = "nrp",
    status = "ReadinessPolicyStatus",
    validation = Rule::new("self.metadata.name != 'default'").message("the policy default is built in, and decides for the rules that name none"),
    validation = Rule::new("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')").message("the name of a policy has at most 63 characters and no '.', as spec.policy.name of a rule"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Does the module that is wanted decide?"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why, or why not."
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "Version of the policy that decides, as it says itself."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the policy was created."
    ),
    printcolumn(
        name = "OnFailure",
        type_ = "string",
        json_path = ".spec.onFailure",
        description = "What becomes of nodes where the policy fails.",
        priority = 1
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.lastGoodDigest",
        description = "Digest of the module that decides.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.module.builtin) || !(has(self.digest) || has(self.signature))").message("a builtin module has neither digest nor signature: it is part of the host"),
    validation = Rule::new("!has(self.digest) || !has(self.module.oci) || !self.module.oci.reference.contains('@') || self.module.oci.reference.endsWith('@' + self.digest)").message("module.oci.reference and digest name two different digests")
)]
pub struct ReadinessPolicySpec {
    /// Where the module is.
    pub module: ModuleSource,

    /// The digest that the module must have: in a registry that of the artifact, elsewhere that of the
    /// module. Without it what is there is taken once, and its digest shown in the status; what is there
    /// later is not taken before this spec changes, or the annotation `readiness.node.x-k8s.io/fetch-again`.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,

    /// Who must have signed the module. Without it nobody needs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,

    /// The interfaces that the policy may ask, such as `node-readiness:policy/node`: a module that imports
    /// another is refused. Without it those are allowed that are about the node and its rule:
    /// `node-readiness:policy/node`, `/rule`, `/bootstrap` and `/time`. With `node-readiness:policy/pods` it may
    /// ask about the pods on the node, with `node-readiness:policy/lease` about its lease, with
    /// `node-readiness:policy/csi` about its CSI drivers, with `node-readiness:policy/devices` about the devices
    /// of DRA drivers, with `node-readiness:policy/daemonsets` about the DaemonSets that should run on it.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(
        length(max = 32),
        inner(
            length(max = 128),
            regex(pattern = r"^[a-z][-a-z0-9]*:[a-z][-a-z0-9]*/[a-z][-a-z0-9]*$")
        )
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,

    /// What one call of the policy may take. Without it what the host gives modules of its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// What becomes of a node where the policy fails: it traps, takes too long, or cannot decide. `Hold`,
    /// the default: the taint stays as it is. `Taint`: the node is held. `Release`: the node is let go.
    #[schemars(extend("enum" = ["Hold", "Taint", "Release"]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
}

/// A place that a module is brought from. Exactly one is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.oci), has(self.https), has(self.file), has(self.configMap), has(self.builtin)].exists_one(given, given)").message("give exactly one of oci, https, file, configMap and builtin")
)]
pub struct ModuleSource {
    /// An artifact in an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciModule>,

    /// A file on a web server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsModule>,

    /// A file where the host runs, such as one of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileModule>,

    /// An entry of a ConfigMap's `binaryData`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapModule>,

    /// A policy that is part of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinModule>,
}

/// An artifact in an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciModule {
    /// Which artifact: `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`. Nothing is assumed
    /// where a part is missing.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://') && !self.matches('[[:space:]]') && self.indexOf('/') > 0 && self.substring(self.lastIndexOf('/') + 1).contains(':')").message("reference is REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…"))]
    pub reference: String,

    /// A Secret of the type `kubernetes.io/dockerconfigjson` that opens the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretName>,

    /// Certificate authorities of the registry, as PEM, beside those of the system.
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')").message("ca is PEM: it has a line -----BEGIN CERTIFICATE-----"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,

    /// If true, the registry is asked over plain http, and whoever can write to the network in between
    /// can send another module, unless `digest` or `signature` is given.
    #[serde(default, rename = "plainHTTP", skip_serializing_if = "Option::is_none")]
    pub plain_http: Option<bool>,
}

/// A file on a web server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpsModule {
    /// Where it is. Its signature is beside it, with `.sigstore.json` at the end of the path.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''").message("url is an https URL with a host"),
        validation = Rule::new("!self.matches('^https://[^/?#]*@')").message("url has no user or password: give a pullSecret")
    )]
    pub url: String,

    /// A Secret of the type `kubernetes.io/dockerconfigjson` that opens the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretName>,

    /// Certificate authorities of the server, as PEM, beside those of the system.
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')").message("ca is PEM: it has a line -----BEGIN CERTIFICATE-----"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// A file where the host runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileModule {
    /// Its absolute path. Its signature is beside it, with `.sigstore.json` at the end of the name.
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("path begins with '/'"))]
    pub path: String,
}

/// An entry of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapModule {
    /// Namespace of the ConfigMap.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,

    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in its `binaryData`. The signature is beside it, with `.sigstore.json` at the end of the key.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A policy that is part of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltinModule {
    /// Its name, such as `default` or `pods-ready`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// A Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Its namespace. The host must have the right to get the Secret there.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Who must have signed: one of the keys, or one of the identities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.keys) || has(self.keyless)").message("give keys, keyless, or both"))]
pub struct Signature {
    /// Public keys as PEM, such as `cosign.pub`. The signature of one of them suffices.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 4096)))]
    #[x_kube(validation = Rule::new("self.all(key, key.contains('-----BEGIN PUBLIC KEY-----'))").message("keys are PEM: each has a line -----BEGIN PUBLIC KEY-----"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,

    /// Who may sign without a key: with a certificate of an authority that `host run --trusted-root` trusts.
    /// One of them suffices.
    #[schemars(length(min = 1, max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyless: Vec<KeylessSigner>,
}

/// Somebody who an issuer of identity tokens (OIDC) knows. Both are compared exactly with what the certificate
/// says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeylessSigner {
    /// Who says so, such as `https://token.actions.githubusercontent.com`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub issuer: String,

    /// Who it is: an e-mail address or a URI, such as
    /// `https://github.com/example/policies/.github/workflows/release.yaml@refs/heads/main`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub identity: String,
}

/// What one call of a policy may take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The most memory, such as `16Mi`. Without it 8 MiB for a small module, and 128 MiB, the most that can be
    /// given, for a large one, which brings its language's runtime. More than 8 MiB makes any module a
    /// large one.
    #[schemars(
        length(min = 1, max = 16),
        regex(pattern = r"^[1-9][0-9]*(Ki|Mi|Gi)?$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,

    /// The longest time, such as `100ms`: at most `10s`. Without it 100 ms for a small module and 500 ms for
    /// a large one. More than 100 ms makes any module a large one.
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[1-9][0-9]*(ms|s)$"))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('10s')").message("deadline is at most 10s"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

/// How the policy is. `version`, `contract`, `imports` and `parameters` are those of the module that
/// decides, which is another than the one that is wanted while that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessPolicyStatus {
    /// The generation of the policy that this status is about.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How far the module came that is wanted: `Fetched`, `Verified` (it has the digest, and the
    /// signature), `Compatible` (it keeps the contract, may have what it asks, and takes the parameters of
    /// the rules that name the policy), and `Ready`: it decides. `Fetching` and `Compiling` are the reasons of what is
    /// just being done; then `Ready` is about the module before, where that decides. `Failing` is about the one that decides: it
    /// failed again and again, and is not asked for a while.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 32))]
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub conditions: Vec<Condition>,

    /// Digest of what `spec.module` named when it was taken: in a registry that of the artifact, elsewhere
    /// that of the module.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,

    /// The same of the module that decides.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_digest: Option<String>,

    /// Version of the policy, as it says itself.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Version of the contract that the policy was built against.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,

    /// What the policy asks: its imports are its permissions.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub imports: Vec<String>,

    /// JSON Schema of the parameters that a rule can give it, as JSON.
    #[schemars(length(max = 65536))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
}

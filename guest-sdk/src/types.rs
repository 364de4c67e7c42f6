//! The types of the contract, as Rust has them.

/// Status of a condition, as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

/// Effect of a taint, as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `NoSchedule`
    NoSchedule,
    /// `PreferNoSchedule`
    PreferNoSchedule,
    /// `NoExecute`
    NoExecute,
}

/// One entry of the rule's `spec.conditions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Condition type, 1 to 316 characters.
    pub condition: String,
    /// `requiredStatus`.
    pub required: Status,
    /// `defaultStatus`: the status that counts while the node does not show the condition. None:
    /// [`Status::Unknown`] counts.
    pub fallback: Option<Status>,
}

/// The rule's `spec.conditionPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// `allOf`, and where the rule says nothing.
    AllOf,
    /// `anyOf`
    AnyOf,
}

/// The rule's `spec.enforcementMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// `bootstrap-only`
    BootstrapOnly,
    /// `continuous`
    Continuous,
}

/// Was this rule's bootstrap completed on this node?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// No.
    None,
    /// In the boot that the node reports now, or in one that was not recorded.
    ThisBoot,
    /// In a boot before the one that the node reports now.
    EarlierBoot,
}

/// What shall become of the rule's taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaintAction {
    /// Shall be on the node. No change if it is.
    Present,
    /// Shall not be on the node. No change if it is not.
    Absent,
    /// As it is.
    Keep,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Index into [`Rule::requirements`](crate::Rule::requirements). The host adds name, wanted
    /// and observed status.
    Requirement(usize),
    /// Anything else, in words, at most 256 bytes.
    Other(String),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// Was it as it should be?
    pub met: bool,
}

impl Finding {
    /// About the requirement with this index.
    pub fn requirement(index: usize, met: bool) -> Self {
        Self {
            subject: Subject::Requirement(index),
            met,
        }
    }

    /// About anything else, in words, at most 256 bytes.
    pub fn other(what: impl Into<String>, met: bool) -> Self {
        Self {
            subject: Subject::Other(what.into()),
            met,
        }
    }
}

/// The answer of a policy. Begin with [`present`](Self::present), [`absent`](Self::absent) or
/// [`keep`](Self::keep).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What shall become of the taint.
    pub taint: TaintAction,
    /// Record that the bootstrap is complete. Only with [`TaintAction::Absent`].
    pub complete_bootstrap: bool,
    /// The bootstrap is to be completed once in each boot.
    pub per_boot: bool,
    /// CamelCase word for machines, 1 to 64 characters of `[A-Za-z0-9]`, starting with a capital,
    /// from a small fixed set.
    pub reason: String,
    /// Sentence for people, at most 1024 bytes. Empty: the host writes it from the findings.
    pub message: String,
    /// What was looked at, in order; the last one decided. At most 64.
    pub findings: Vec<Finding>,
}

impl Decision {
    /// The taint shall be on the node.
    pub fn present(reason: impl Into<String>) -> Self {
        Self::new(TaintAction::Present, reason.into())
    }

    /// The taint shall not be on the node.
    pub fn absent(reason: impl Into<String>) -> Self {
        Self::new(TaintAction::Absent, reason.into())
    }

    /// The taint shall stay as it is.
    pub fn keep(reason: impl Into<String>) -> Self {
        Self::new(TaintAction::Keep, reason.into())
    }

    fn new(taint: TaintAction, reason: String) -> Self {
        Self {
            taint,
            complete_bootstrap: false,
            per_boot: false,
            reason,
            message: String::new(),
            findings: Vec::new(),
        }
    }

    /// Record, together with the taint's absence, that the bootstrap is complete. The host refuses
    /// this with anything but [`absent`](Self::absent).
    #[must_use]
    pub fn complete_bootstrap(mut self) -> Self {
        self.complete_bootstrap = true;
        self
    }

    /// The bootstrap is to be completed once in each boot: the host keeps the node's boot with the
    /// completion. Say so in each decision, also where nothing is completed.
    #[must_use]
    pub fn per_boot(mut self) -> Self {
        self.per_boot = true;
        self
    }

    /// A sentence for people instead of the one that the host writes.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// What was looked at.
    #[must_use]
    pub fn findings(mut self, findings: Vec<Finding>) -> Self {
        self.findings = findings;
        self
    }
}

/// Something wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer into the parameters; empty for the whole.
    pub path: String,
    /// Sentence for the author of the rule, at most 1024 bytes.
    pub message: String,
}

impl Problem {
    /// A problem with the value at a JSON pointer into the parameters.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// The values of a label or annotation that make a difference to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Key of the label or annotation.
    pub key: String,
    /// The values; absence is always tried as well.
    pub values: Vec<String>,
}

/// Who a policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// DNS label, 1 to 63 characters.
    pub name: String,
    /// The policy's own version, semver.
    pub version: String,
    /// JSON Schema 2020-12 of the parameters; empty if it takes none: then the host refuses a rule that
    /// gives it some. For people and their tools: [`Policy::check`](crate::Policy::check) decides about
    /// what it takes.
    pub parameters: String,
    /// For the labels and annotations that it asks for.
    pub domains: Vec<Domain>,
}

impl Description {
    /// A policy without parameters. The version is usually `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            parameters: String::new(),
            domains: Vec::new(),
        }
    }

    /// JSON Schema 2020-12 of the parameters that rules may give.
    #[must_use]
    pub fn parameters(mut self, schema: impl Into<String>) -> Self {
        self.parameters = schema.into();
        self
    }

    /// The values of a label or annotation that make a difference, for whoever tries every run.
    #[must_use]
    pub fn domain(mut self, key: impl Into<String>, values: &[&str]) -> Self {
        self.domains.push(Domain {
            key: key.into(),
            values: values.iter().map(|&value| value.into()).collect(),
        });
        self
    }
}

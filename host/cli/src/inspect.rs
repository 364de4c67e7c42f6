//! `host inspect`: what a policy is, and what it can ask.

use std::fmt::Write;
use std::str::FromStr;

use anyhow::Context;
use clap::ArgGroup;
use engine::Policy;
use fetch::{Digest, InvalidSource, Module, Source, Wanted};
use planner::rule::DEFAULT_POLICY;
use serde::Serialize;
use serde_json::Value;

use crate::eval::BUILT_IN;
use crate::exit::Exit;
use crate::input::BadInput;
use crate::{module, output};

/// Print what a policy says of itself, and what it can ask.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("signer").args(["keys", "certificate_identity"]).multiple(true).requires("source")))]
#[command(after_help = "\
A policy is loaded as `host run` does it: what cannot be loaded is refused here with the same sentence. A \
file or URL is signed where there is a bundle of `cosign sign-blob` beside it, with .sigstore.json at the \
end of its name.

Examples:
  host inspect steady.wasm
  host inspect oci://registry.example.com/policies/steady:1.0 --key cosign.pub
  host inspect https://policies.example.com/steady.wasm -o json
  host inspect builtin:pods-ready            # a policy that comes with this program
  host inspect                               # the built-in default policy

Exit status:
  0  printed
  1  it is not signed by who should have
  2  bad usage, it is no policy, or it cannot be had")]
pub struct Options {
    /// A file, an https URL, oci://REFERENCE, or builtin:NAME; without it the built-in default policy
    #[arg(value_name = "POLICY")]
    source: Option<Place>,

    #[command(flatten)]
    signed: module::Signed,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,

    #[command(flatten)]
    module: module::Options,
}

/// Where a policy is.
#[derive(Debug, Clone)]
enum Place {
    /// It comes with this program.
    BuiltIn(String),
    /// Anywhere else.
    Outside(Source),
}

impl FromStr for Place {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        match text.strip_prefix(BUILT_IN) {
            Some(name) => Ok(Self::BuiltIn(name.to_owned())),
            None => text.parse().map(Self::Outside),
        }
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs; a versioned shape
    Json,
    /// The same shape as YAML
    Yaml,
}

/// What is printed for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    api_version: &'static str,
    kind: &'static str,
    name: &'a str,
    version: &'a str,
    /// The contract that it was built against.
    contract: &'a str,
    /// Of the module.
    digest: &'a str,
    /// Bytes.
    size: usize,
    /// `small` or `large`: which limits of the host it has.
    class: &'static str,
    /// Bytes of memory that it begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// In a registry: the artifact by its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Fingerprint of the key, or the identity with its issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    imports: Vec<Import<'a>>,
    /// What it needs of `spec.allow`.
    allow: Vec<&'a str>,
    /// Labels and annotations that make a difference, with their values.
    domains: Vec<Domain<'a>>,
    /// JSON Schema; null where it takes none.
    parameters: Value,
}

#[derive(Serialize)]
struct Import<'a> {
    interface: &'a str,
    functions: &'a [String],
}

#[derive(Serialize)]
struct Domain<'a> {
    key: &'a str,
    values: &'a [String],
}

/// Prints it.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        source,
        signed,
        output: format,
        module,
    } = options;
    let (module, place) = match source {
        Some(Place::BuiltIn(name)) => {
            let place = format!("{BUILT_IN}{name}");
            let bytes =
                engine::built_in(&name).map_err(|why| BadInput::one(format!("{place}: {why}")))?;
            if signed.is_given() {
                let why = "it is part of this program and has no signature of its own: leave out --key and the like";
                return Err(BadInput::one(format!("{place}: {why}")).into());
            }
            (Module::from_bytes(bytes.to_vec(), None)?, place)
        }
        Some(Place::Outside(source)) => {
            let trusted = signed.read()?;
            let wanted = Wanted {
                source: &source,
                digest: None,
                signers: trusted.signers(),
            };
            let client = module.client()?;
            match crate::runtime()?.block_on(client.fetch(wanted)) {
                Ok(module) => (module, source.to_string()),
                Err(error) => return module::failed(error),
            }
        }
        None => {
            let bytes = engine::DEFAULT_POLICY.to_vec();
            let built_in = Module::from_bytes(bytes, None);
            (built_in?, "the built-in policy".to_owned())
        }
    };
    let policy = module::load(&module.bytes, &place)?;
    let report = Report::new(&module, &policy)?;
    output::result(&report.shown(format)?)?;
    Ok(Exit::Success)
}

/// As `spec.allow` names it: a permission has no version.
fn allowed(import: &engine::Import) -> &str {
    let name = import.interface.split_once('@');
    name.map_or(import.interface.as_str(), |(name, _)| name)
}

impl<'a> Report<'a> {
    fn new(module: &Module, policy: &'a Policy) -> anyhow::Result<Self> {
        let parameters = match policy.parameters() {
            "" => Value::Null,
            schema => {
                serde_json::from_str(schema).context("its schema of parameters is no JSON")?
            }
        };
        let imports = policy.imports().iter().map(|import| Import {
            interface: &import.interface,
            functions: &import.functions,
        });
        let domains = policy.domains().iter().map(|domain| Domain {
            key: &domain.key,
            values: &domain.values,
        });
        Ok(Self {
            api_version: "inspect.node-readiness/v1alpha1",
            kind: "Policy",
            name: policy.name(),
            version: policy.version(),
            contract: policy.contract(),
            digest: policy.digest(),
            size: module.bytes.len(),
            class: policy.class().as_str(),
            memory: policy.memory(),
            reference: module.reference.as_ref().map(ToString::to_string),
            signed_by: module.signer.as_ref().map(ToString::to_string),
            imports: imports.collect(),
            allow: policy.imports().iter().map(allowed).collect(),
            domains: domains.collect(),
            parameters,
        })
    }

    /// Nobody keeps a module from calling itself as the built-in one does.
    fn named(&self) -> String {
        let is_built_in = self.digest == Digest::of(engine::DEFAULT_POLICY).to_string();
        match self.name {
            DEFAULT_POLICY if !is_built_in => {
                format!("{DEFAULT_POLICY} (as it calls itself; the built-in policy is another)")
            }
            name => name.to_owned(),
        }
    }

    fn shown(&self, format: Format) -> anyhow::Result<String> {
        match format {
            Format::Text => self.text(),
            Format::Json => {
                let json = serde_json::to_string_pretty(self).context("the result is no JSON")?;
                Ok(engine::seen_json(&json) + "\n")
            }
            Format::Yaml => serde_saphyr::to_string(self).context("the result is no YAML"),
        }
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| writeln!(text, "{name:<12}{value}");
        line("Name:", &self.named())?;
        line("Version:", self.version)?;
        line("Contract:", self.contract)?;
        line("Digest:", self.digest)?;
        line("Size:", &format!("{} bytes", self.size))?;
        line("Class:", self.class)?;
        if let Some(bytes) = self.memory {
            line("Memory:", &format!("begins with {} KiB", bytes / 1024))?;
        }
        if let Some(reference) = &self.reference {
            line("Reference:", reference)?;
        }
        if let Some(signer) = &self.signed_by {
            let kind = if signer.starts_with("sha256:") {
                "key "
            } else {
                ""
            };
            line("Signed by:", &format!("{kind}{signer}"))?;
        }
        match self.imports.is_empty() {
            true => line("Imports:", "none")?,
            false => writeln!(text, "Imports:")?,
        }
        for import in &self.imports {
            writeln!(
                text,
                "  {}: {}",
                import.interface,
                import.functions.join(", ")
            )?;
        }
        if !self.allow.is_empty() {
            writeln!(text, "Allow:")?;
        }
        for interface in &self.allow {
            writeln!(text, "  - {interface}")?;
        }
        if !self.domains.is_empty() {
            writeln!(text, "Depends on:")?;
        }
        for domain in &self.domains {
            writeln!(text, "  {}: {}", domain.key, domain.values.join(", "))?;
        }
        match self.parameters {
            Value::Null => writeln!(text, "{:<12}none", "Parameters:")?,
            _ => writeln!(
                text,
                "Parameters:\n{}",
                engine::seen_json(&serde_json::to_string_pretty(&self.parameters)?)
            )?,
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_calls_itself_default_is_not_taken_for_the_built_in_one() {
        let engine = engine::Engine::new(&engine::Options::one_at_a_time()).unwrap();
        let name = |bytes: Vec<u8>| {
            let policy = engine.load(&bytes).unwrap();
            let module = Module::from_bytes(bytes, None).unwrap();
            let text = Report::new(&module, &policy).unwrap().text().unwrap();
            text.lines().next().unwrap().to_owned()
        };
        let built_in = engine::DEFAULT_POLICY.to_vec();
        // With a custom section: another module, which says the same of itself.
        let other = [&built_in[..], &[0, 2, 1, b'x']].concat();
        assert_eq!(name(built_in), "Name:       default");
        assert_eq!(
            name(other),
            "Name:       default (as it calls itself; the built-in policy is another)"
        );
    }

    /// The author of a module writes its schema, and whoever wants to know what it is looks at it here.
    #[test]
    fn nothing_in_a_schema_turns_or_hides_what_a_terminal_shows() {
        let engine = engine::Engine::new(&engine::Options::one_at_a_time()).unwrap();
        let policy = engine.default_policy().unwrap();
        let module = Module::from_bytes(engine::DEFAULT_POLICY.to_vec(), None).unwrap();
        let mut report = Report::new(&module, &policy).unwrap();
        report.parameters = serde_json::json!({ "title": "a\u{202e}b\u{200b}c\u{9b}31md\u{feff}" });
        for format in [Format::Text, Format::Json] {
            let shown = report.shown(format).unwrap();
            let hidden = |letter: char| engine::is_unseen(letter) && letter != '\n';
            assert!(!shown.contains(hidden), "{shown:?}");
            assert!(shown.contains("\\u202e"), "{shown}");
        }
    }
}

//! `host push`: a policy into a registry.

use std::path::PathBuf;

use anyhow::Context;
use fetch::{Component, Reference, Version};
use jiff::Timestamp;

use crate::exit::Exit;
use crate::input::BadInput;
use crate::{module, output};

/// Push a policy to an OCI registry, and print its reference by digest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The artifact has the format that the Wasm working group has agreed on: a configuration of \
application/vnd.wasm.config.v0+json and one layer of application/wasm. The same policy, pushed again, is \
the same artifact with the same digest. What is no policy is not pushed.

Sign what is printed, by its digest: a tag can be moved. docs/policy-modules.md in the repository of this \
program has the commands for it.

Examples:
  host push steady.wasm registry.example.com/policies/steady:1.0 \\
    --ca registry-ca.pem
  host push steady.wasm localhost:5000/steady:1.0 --plain-http

Exit status:
  0  pushed
  2  bad usage, it is no policy, or the registry cannot be reached or refuses")]
pub struct Options {
    /// The policy: a WebAssembly component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,

    /// Where it goes: REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "REFERENCE", value_parser = module::reference)]
    reference: Reference,

    /// Time that counts as when it was made, in seconds since 1970; it is part of the digest
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", default_value = "0", value_parser = seconds)]
    created: Timestamp,

    #[command(flatten)]
    module: module::Options,
}

fn seconds(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| "it is not a number of seconds since 1970".to_owned())
}

/// Pushes it.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        file,
        reference,
        created,
        module,
    } = options;
    if let Version::Digest(_) = reference.version() {
        let what = "a digest follows from what is pushed: give a tag, REGISTRY/REPOSITORY:TAG";
        return Err(BadInput::one(what).into());
    }
    let bytes = module::read(&file)?;
    let policy = module::load(&bytes, &file.display().to_string())?;
    let imports = policy.imports().iter();
    let component = Component {
        bytes: &bytes,
        name: policy.name(),
        version: policy.version(),
        imports: imports.map(|import| import.interface.as_str()).collect(),
        exports: vec![policy.interface()],
        created: &created.to_string(),
    };
    let client = module.client()?;
    let pushed = crate::runtime()?.block_on(client.push(&reference, &component));
    let pushed = pushed.context("the policy was not pushed")?;
    output::result(&format!("{pushed}\n"))?;
    Ok(Exit::Success)
}

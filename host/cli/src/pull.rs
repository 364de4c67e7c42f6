//! `host pull`: a policy from a registry.

use std::fs;
use std::path::{Path, PathBuf};

use fetch::{Reference, Source, Wanted};

use crate::exit::Exit;
use crate::input::BadInput;
use crate::{module, output};

/// Pull a policy from an OCI registry into a file, and print its reference by digest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything is hashed as it was received, and compared with the manifest and the reference. With --key the \
policy must be signed by cosign with one of the keys, and with --certificate-identity by who can prove to be \
that; it is checked before the policy is downloaded, and without asking anybody but the registry.

Examples:
  host pull registry.example.com/policies/steady:1.0 steady.wasm
  host pull registry.example.com/policies/steady:1.0 steady.wasm \\
    --key cosign.pub
  host pull registry.example.com/policies/steady:1.0 steady.wasm \\
    --trusted-root trusted_root.json \\
    --certificate-identity release@example.com \\
    --certificate-oidc-issuer https://accounts.example.com
  host pull localhost:5000/steady:1.0 steady.wasm --plain-http

Exit status:
  0  pulled
  1  it is not what is wanted: another digest, or not signed by who should have
  2  bad usage, it is no policy, or the registry cannot be reached or refuses")]
pub struct Options {
    /// Where it is: REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:…
    #[arg(value_name = "REFERENCE", value_parser = module::reference)]
    reference: Reference,

    /// File to write
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,

    #[command(flatten)]
    signed: module::Signed,

    #[command(flatten)]
    module: module::Options,
}

/// Pulls it.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        reference,
        file,
        signed,
        module,
    } = options;
    let trusted = signed.read()?;
    let client = module.client()?;
    let source = Source::Registry(reference);
    let wanted = Wanted {
        source: &source,
        digest: None,
        signers: trusted.signers(),
    };
    let module = match crate::runtime()?.block_on(client.fetch(wanted)) {
        Ok(module) => module,
        Err(error) => return module::failed(error),
    };
    write(&file, &module.bytes)
        .map_err(|error| BadInput::one(format!("{} cannot be written: {error}", file.display())))?;
    if let Some(reference) = module.reference {
        output::result(&format!("{reference}\n"))?;
    }
    Ok(Exit::Success)
}

/// All of it or nothing: half a policy must not be taken for one.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&part);
    let written = fs::write(part, bytes).and_then(|()| fs::rename(part, file));
    if written.is_err() {
        // It says nothing that the first error does not.
        let _ = fs::remove_file(part);
    }
    written
}

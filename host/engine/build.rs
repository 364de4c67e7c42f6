//! Builds the policies in the box, compiles the default one for the target, and writes down what the contract
//! offers, so that the host needs neither Rust nor the contract's text when it runs.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::exit;

use sha2::{Digest, Sha256};
use wit_parser::{Resolve, WorldItem};

#[path = "src/config.rs"]
mod config;

/// Policies in the box beside the default one. Compiled when one is asked for.
const OTHERS: [&str; 5] = [
    "csi-ready",
    "daemon-sets-ready",
    "devices-ready",
    "heartbeat",
    "pods-ready",
];

fn main() {
    if let Err(error) = run() {
        let message = error.to_string();
        let mut lines = message.lines();
        println!("cargo::error={}", lines.next().unwrap_or_default());
        // Cargo's errors take one line; what a compiler said has more.
        for line in lines {
            let _ = writeln!(io::stderr(), "{line}");
        }
        exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let root = guest_builder::workspace();
    for path in [
        "wit",
        "guest-sdk/src",
        "guest-sdk/Cargo.toml",
        "policies/default/src",
        "policies/default/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    for name in OTHERS {
        for path in ["src", "Cargo.toml"] {
            let path = root.join("policies").join(name).join(path);
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/config.rs");

    fs::write(out.join("contract.rs"), contract(&root.join("wit"))?)?;
    let target = out.join("policy");
    let component = guest_builder::build("default-policy", &target)?;
    for name in OTHERS {
        let other = guest_builder::build(&format!("{name}-policy"), &target)?;
        fs::write(out.join(format!("{name}.wasm")), other)?;
    }
    // 140 MB, which each variant of the host's build would keep.
    fs::remove_dir_all(&target)?;
    fs::write(out.join("default.cwasm"), precompile(&component))?;
    fs::write(out.join("default.wasm"), &component)?;
    let digest = Sha256::digest(&component);
    let digest = digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    println!("cargo::rustc-env=DEFAULT_POLICY_DIGEST=sha256:{digest}");
    Ok(())
}

/// Native code for the target's baseline processor; empty where this compiler cannot make it,
/// and the host compiles the policy when it starts.
fn precompile(component: &[u8]) -> Vec<u8> {
    let target = env::var("TARGET").unwrap_or_default();
    let mut config = config::config(0);
    let native = config
        .target(&target)
        .and_then(|config| wasmtime::Engine::new(config))
        .and_then(|engine| engine.precompile_component(component));
    native.unwrap_or_else(|error| {
        println!("cargo::warning=the default policy is not compiled for {target}: {error}");
        Vec::new()
    })
}

/// The version of the contract, and the functions of each interface that a policy can import.
fn contract(wit: &Path) -> Result<String, Box<dyn Error>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some("policy-with-facts"))?;
    let version = resolve.packages[package].name.version.as_ref();
    let version = version.ok_or("the contract has no version")?;

    let mut code = format!(
        "pub(crate) const VERSION: &str = {:?};\n",
        version.to_string()
    );
    code += "pub(crate) const INTERFACES: &[(&str, &[&str])] = &[\n";
    for item in resolve.worlds[world].imports.values() {
        if let WorldItem::Interface { id, .. } = item {
            let interface = &resolve.interfaces[*id];
            let name = interface.name.as_deref().unwrap_or_default();
            let functions: Vec<_> = interface.functions.keys().collect();
            writeln!(code, "    ({name:?}, &{functions:?}),")?;
        }
    }
    code += "];\n";
    Ok(code)
}

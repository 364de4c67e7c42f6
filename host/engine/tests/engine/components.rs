//! Small policies written by hand, for what no SDK would make.

use std::fs;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What makes a component different from one that behaves.
pub struct Parts<'a> {
    /// Changes to the text of the contract, each applied once.
    pub contract: &'a [(&'a str, &'a str)],
    /// Version in the names of its exports.
    pub version: &'a str,
    /// Imports of the core module.
    pub imports: &'a str,
    /// Pages that its memory has at first.
    pub memory: &'a str,
    /// Anything else in the core module.
    pub module: &'a str,
    /// What `describe` does first.
    pub describe: &'a str,
    /// What `check` does first.
    pub check: &'a str,
    /// What `evaluate` does first.
    pub evaluate: &'a str,
    /// What it does when the host wants memory in it: an address.
    pub realloc: &'a str,
    /// The functions it exports.
    pub exports: &'a [&'a str],
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self {
            contract: &[],
            version: "0.1.0",
            imports: "",
            memory: "1",
            module: "",
            describe: "",
            check: "",
            evaluate: "",
            realloc: "(i32.const 4096)",
            exports: &["describe", "check", "evaluate"],
        }
    }
}

/// Builds it. Memory: 0 the description, 32 an empty list, 64 a decision, 128 texts.
pub fn component(parts: &Parts<'_>) -> Vec<u8> {
    let mut wit = fs::read_to_string(guest_builder::workspace().join("wit/policy.wit")).unwrap();
    for (old, new) in parts.contract {
        assert!(wit.contains(old), "{old} is not in the contract");
        wit = wit.replacen(old, new, 1);
    }
    let export = |name: &str, body: &str, result: u32| {
        if parts.exports.contains(&name) {
            let version = parts.version;
            format!(
                r#"(func (export "node-readiness:policy/decide@{version}#{name}") (result i32)
                     {body} (i32.const {result}))"#
            )
        } else {
            String::new()
        }
    };
    let core = format!(
        r#"(module
          {imports}
          (memory (export "memory") {memory})
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
          {describe}
          {check}
          {evaluate}
          (data (i32.const 0) "\80\00\00\00\04\00\00\00\90\00\00\00\05\00\00\00")
          (data (i32.const 64) "\00\00\00\00\01\00\00\00\a0\00\00\00\04\00\00\00")
          (data (i32.const 128) "hand")
          (data (i32.const 144) "1.0.0")
          (data (i32.const 160) "Fine")
          {module})"#,
        imports = parts.imports,
        memory = parts.memory,
        module = parts.module,
        describe = export("describe", parts.describe, 0),
        check = export("check", parts.check, 32),
        realloc = parts.realloc,
        evaluate = export("evaluate", parts.evaluate, 64),
    );
    let mut core = wat::parse_str(core).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&core)
        .unwrap()
        .encode()
        .unwrap()
}

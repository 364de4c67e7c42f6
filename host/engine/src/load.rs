//! From the bytes of a component to something that can be called: each way in which it cannot
//! serve as a policy is found here, and told apart.

use planner::verdict::Failure;
use semver::Version;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex};

use crate::class::Allowance;
use crate::contract::{DECIDE, INTERFACES, PACKAGE, VERSION};
use crate::grants::{Grants, is_needed};
use crate::scan::Scan;
use crate::size::Size;
use crate::{CompilerError, EngineError, Import};

/// Why a component cannot serve as a policy. Each message is a sentence about "it", without a file
/// name: the caller knows where the bytes came from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes do not begin as WebAssembly does.
    #[error("it is not WebAssembly")]
    NotWasm,
    /// WebAssembly, but not a component.
    #[error(
        "it is a core WebAssembly module, not a component: \
         `wasm-tools component new MODULE.wasm{} -o POLICY.wasm` makes one of it", adapt(*.needs_wasi)
    )]
    CoreModule {
        /// It imports WASI, which has to be replaced on the way.
        needs_wasi: bool,
    },
    /// It is damaged, or needs a WebAssembly feature that is not given.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// It begins with more than it may have at most.
    #[error("it needs more than a policy may have: {0}")]
    TooLarge(String),
    /// Built against an incompatible version of the contract.
    #[error(
        "it was built against {PACKAGE}@{theirs}, and this host speaks {PACKAGE}@{VERSION}: \
         build it with the SDK that belongs to this host"
    )]
    OtherContract {
        /// The version that the component names.
        theirs: String,
    },
    /// It imports WASI.
    #[error(
        "it needs WASI ({}), which no policy is given. Rust: build it for wasm32-unknown-unknown. \
         JavaScript and Python: give componentize-qjs or componentize-py `--stub-wasi`. Go and C: give \
         `wasm-tools component new` an adapter that does nothing, as examples/policies/go does: \
         `--adapt wasi_snapshot_preview1=no-wasi.wat`", listed(.imports)
    )]
    Wasi {
        /// Such as `wasi:cli/environment@0.2.0`; at least one.
        imports: Vec<String>,
    },
    /// It imports something that is not in the contract.
    #[error("it imports {import}, which is not in {PACKAGE}@{VERSION}, and nothing else is given")]
    UnknownImport {
        /// An interface, or a function of the component's world.
        import: String,
    },
    /// It imports interfaces that its operator does not grant.
    #[error("it asks {}, which it is not granted", .interfaces.join(" and "))]
    NotGranted {
        /// Without their versions, such as `node-readiness:policy/pods`; at least one.
        interfaces: Vec<String>,
    },
    /// It imports a function that a later patch of the contract may have.
    #[error(
        "it asks {function} of {interface}, which {PACKAGE}@{VERSION} does not have: \
         it needs a newer host"
    )]
    UnknownFunction {
        /// Such as `node-readiness:policy/node@0.1.1`.
        interface: String,
        /// Name of the function.
        function: String,
    },
    /// It has no `decide`.
    #[error("it is not a readiness policy: it does not export {PACKAGE}/{DECIDE}@{VERSION}")]
    NoDecide,
    /// An import or export has another type than in the contract.
    #[error("it is not built from this host's {PACKAGE}@{VERSION}: {0}")]
    WrongSignature(String),
    /// It failed on its first call, of `describe`.
    #[error("its trial run failed ({}): {}", .0.kind, .0.message)]
    Trial(Failure),
    /// The process that compiles it failed.
    #[error("{0}")]
    Compiler(#[from] CompilerError),
    /// This machine has no place for policies of its class.
    #[error("it cannot be run: {0}")]
    Engine(#[from] EngineError),
    /// It ran, but what it says of itself is not as the contract wants it.
    #[error("{0}")]
    InvalidDescription(String),
}

impl LoadError {
    /// The CamelCase word for status reasons and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotWasm => "NotWasm",
            Self::CoreModule { .. } => "CoreModule",
            Self::Compile(_) => "CompileFailed",
            Self::TooLarge(_) => "TooLarge",
            Self::OtherContract { .. } => "OtherContract",
            Self::Wasi { .. } => "NeedsWasi",
            Self::UnknownImport { .. } => "UnknownImport",
            Self::NotGranted { .. } => "NotAllowed",
            Self::UnknownFunction { .. } => "UnknownFunction",
            Self::NoDecide => "NoPolicy",
            Self::WrongSignature(_) => "WrongSignature",
            Self::Trial(_) => "TrialFailed",
            Self::Compiler(error) => error.as_str(),
            Self::Engine(_) => "HostError",
            Self::InvalidDescription(_) => "InvalidDescription",
        }
    }
}

/// Bytes of a page of memory.
const PAGE: u64 = 64 << 10;

/// Where a component's functions are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) check: ComponentExportIndex,
    pub(crate) evaluate: ComponentExportIndex,
}

/// What the sentence about a core module adds to the command.
fn adapt(needs_wasi: bool) -> &'static str {
    if needs_wasi {
        " --adapt wasi_snapshot_preview1=NO-WASI.wat (an adapter that does nothing, as in \
         examples/policies/go, since no policy is given WASI)"
    } else {
        ""
    }
}

/// The first, and how many more.
fn listed(imports: &[String]) -> String {
    match imports {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

/// Is it of our contract, and does it import nothing beyond? By the names alone: the linker's own
/// messages would name the wrong thing.
pub(crate) fn names(scan: &Scan) -> Result<(), LoadError> {
    let Scan {
        imports, exports, ..
    } = scan;
    for theirs in imports
        .iter()
        .chain(exports)
        .filter_map(|name| interface(name))
    {
        if !theirs.is_compatible() {
            return Err(LoadError::OtherContract {
                theirs: theirs.version.to_owned(),
            });
        }
    }
    let wasi = imports.iter().filter(|name| name.starts_with("wasi:"));
    let wasi: Vec<_> = wasi.cloned().collect();
    if !wasi.is_empty() {
        return Err(LoadError::Wasi { imports: wasi });
    }
    let is_known = |name: &str| interface(name).is_some_and(|known| known.functions().is_some());
    if let Some(import) = imports.iter().find(|name| !is_known(name)) {
        return Err(LoadError::UnknownImport {
            import: import.clone(),
        });
    }
    let mut ours = exports.iter().filter_map(|name| interface(name));
    if ours.any(|export| export.name == DECIDE) {
        Ok(())
    } else {
        Err(LoadError::NoDecide)
    }
}

/// Does it import what is granted, and no more? By the names alone: one that may not run is not compiled.
pub(crate) fn grants(scan: &Scan, grants: Grants) -> Result<(), LoadError> {
    let imports = scan.imports.iter().filter_map(|name| interface(name));
    let refused = imports
        .map(|import| import.name)
        .filter(|name| is_needed(name) && !grants.has(name));
    let interfaces: Vec<_> = refused.map(|name| format!("{PACKAGE}/{name}")).collect();
    if interfaces.is_empty() {
        Ok(())
    } else {
        Err(LoadError::NotGranted { interfaces })
    }
}

/// Does it call functions that the contract has, and no others?
pub(crate) fn imports(component: &Component) -> Result<Vec<Import>, LoadError> {
    let engine = component.engine();
    let ty = component.component_type();
    let mut imports = Vec::new();
    for (name, item) in ty.imports(engine) {
        let known = interface(name).and_then(|known| known.functions());
        let (Some(known), ComponentItem::ComponentInstance(instance)) = (known, &item.ty) else {
            return Err(LoadError::UnknownImport {
                import: name.to_owned(),
            });
        };
        let mut functions = Vec::new();
        for (function, item) in instance.exports(engine) {
            if !matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                continue;
            }
            if !known.contains(&function) {
                return Err(LoadError::UnknownFunction {
                    interface: name.to_owned(),
                    function: function.to_owned(),
                });
            }
            functions.push(function.to_owned());
        }
        if !functions.is_empty() {
            imports.push(Import {
                interface: name.to_owned(),
                functions,
            });
        }
    }
    Ok(imports)
}

/// Compiles it in this process.
pub(crate) fn compile(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(engine, bytes).map_err(refused)
}

/// What a pool cannot hold is refused with a message about pools.
pub(crate) fn refused(error: wasmtime::Error) -> LoadError {
    let message = format!("{error:#}");
    if message.contains("pooling allocator") {
        LoadError::TooLarge(error.root_cause().to_string())
    } else {
        LoadError::Compile(message)
    }
}

/// May its largest memory begin with so many bytes?
pub(crate) fn begins(bytes: u64, allowance: &Allowance) -> Result<(), LoadError> {
    if bytes <= allowance.memory as u64 {
        return Ok(());
    }
    let (wanted, most) = (Size::from(bytes), Size::of(allowance.memory));
    Err(LoadError::TooLarge(format!(
        "it begins with {wanted} of memory; {most} are allowed"
    )))
}

/// Bytes that the largest memory of a component begins with.
pub(crate) fn begins_with(component: &Component) -> Option<u64> {
    let pages = component.resources_required()?.max_initial_memory_size;
    Some(pages.unwrap_or(0).saturating_mul(PAGE))
}

/// The same limits where there is no pool, and those of this policy alone.
pub(crate) fn size(component: &Component, allowance: &Allowance) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Ok(());
    };
    begins(begins_with(component).unwrap_or(0), allowance)?;
    let shape = allowance.shape;
    let elements = needs.max_initial_table_size.unwrap_or(0);
    let problem = if needs.num_memories > shape.memories {
        format!(
            "it has {} memories; {} are allowed",
            needs.num_memories, shape.memories
        )
    } else if needs.num_tables > shape.tables {
        format!(
            "it has {} tables; {} are allowed",
            needs.num_tables, shape.tables
        )
    } else if elements > shape.elements as u64 {
        format!(
            "it begins with a table of {elements} elements; {} are allowed",
            shape.elements
        )
    } else {
        return Ok(());
    };
    Err(LoadError::TooLarge(problem))
}

/// Where are the functions that a policy exports? Their types are checked when they are called for
/// the first time.
pub(crate) fn exports(component: &Component) -> Result<Exports, LoadError> {
    let instance = component
        .get_export_index(None, format!("{PACKAGE}/{DECIDE}@{VERSION}"))
        .ok_or(LoadError::NoDecide)?;
    let function = |name: &str| {
        component
            .get_export_index(Some(&instance), name)
            .ok_or_else(|| LoadError::WrongSignature(format!("it does not export `{name}`")))
    };
    Ok(Exports {
        describe: function("describe")?,
        check: function("check")?,
        evaluate: function("evaluate")?,
    })
}

/// The name of the interface that it exports, as [`exports`] finds it: the version in it is that of the
/// contract that it was built against.
pub(crate) fn interface_of(component: &Component) -> Result<String, LoadError> {
    let engine = component.engine();
    let ty = component.component_type();
    let mut exports = ty.exports(engine).map(|(name, _)| name);
    let decide = |name: &&str| interface(name).is_some_and(|found| found.name == DECIDE);
    let found = exports.find(decide).ok_or(LoadError::NoDecide)?;
    Ok(found.to_owned())
}

/// An interface of the contract, of any version.
struct Interface<'a> {
    name: &'a str,
    version: &'a str,
}

/// Takes `node-readiness:policy/node@0.1.0` apart; none if it is of another package.
fn interface(name: &str) -> Option<Interface<'_>> {
    let name = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    let (name, version) = name.split_once('@').unwrap_or((name, ""));
    Some(Interface { name, version })
}

/// What grants call it, where it is one of the contract's.
pub(crate) fn name_of(interface_name: &str) -> Option<&str> {
    interface(interface_name).map(|found| found.name)
}

impl Interface<'_> {
    /// The functions that it has in this host's version; none if it does not have the interface.
    fn functions(&self) -> Option<&'static [&'static str]> {
        let known = INTERFACES.iter().find(|known| known.0 == self.name)?;
        Some(known.1)
    }

    /// Of the same 0.n, as the contract defines it: patches only add.
    fn is_compatible(&self) -> bool {
        match (Version::parse(self.version), Version::parse(VERSION)) {
            (Ok(theirs), Ok(ours)) => {
                theirs.major == ours.major
                    && (ours.major > 0 || theirs.minor == ours.minor)
                    && theirs.pre == ours.pre
            }
            _ => false,
        }
    }
}

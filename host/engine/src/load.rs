//! From the bytes of a component to something that can be called: each way in which it cannot
//! serve as a policy is found here, and told apart.

use planner::verdict::Failure;
use semver::Version;
use wasmtime::component::types::{Component as Type, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::Import;
use crate::contract::{DECIDE, INTERFACES, PACKAGE, VERSION};
use crate::sandbox::{TABLE, TABLES};

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
         `wasm-tools component new MODULE.wasm -o POLICY.wasm` makes one of it"
    )]
    CoreModule,
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
        "it needs WASI ({import}), which no policy is given: \
         build it for wasm32-unknown-unknown instead of a WASI target"
    )]
    Wasi {
        /// Such as `wasi:cli/environment@0.2.0`.
        import: String,
    },
    /// It imports something that is not in the contract.
    #[error("it imports {import}, which is not in {PACKAGE}@{VERSION}, and nothing else is given")]
    UnknownImport {
        /// An interface, or a function of the component's world.
        import: String,
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
    /// It ran, but what it says of itself is not as the contract wants it.
    #[error("{0}")]
    InvalidDescription(String),
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

/// A component begins like this: the version of its format, and that it is not a module.
pub(crate) fn is_component(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

/// Does it import what the contract has, and nothing else? Names first: the linker's own messages
/// would name the wrong thing.
pub(crate) fn imports(component: &Component) -> Result<Vec<Import>, LoadError> {
    let engine = component.engine();
    let ty = component.component_type();
    is_our_contract(&ty, engine)?;
    let mut imports = Vec::new();
    for (name, item) in ty.imports(engine) {
        let Some(interface) = interface(name) else {
            let import = name.to_owned();
            return Err(if name.starts_with("wasi:") {
                LoadError::Wasi { import }
            } else {
                LoadError::UnknownImport { import }
            });
        };
        let known = INTERFACES.iter().find(|known| known.0 == interface.name);
        let (Some((_, known)), ComponentItem::ComponentInstance(instance)) = (known, &item.ty)
        else {
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

/// Compiles it. What a pool cannot hold fails here, with a message about pools.
pub(crate) fn compile(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(engine, bytes).map_err(|error| {
        let message = format!("{error:#}");
        if message.contains("does not fit in pooling allocator requirements") {
            LoadError::TooLarge(error.root_cause().to_string())
        } else {
            LoadError::Compile(message)
        }
    })
}

/// The same limits where there is no pool.
pub(crate) fn size(component: &Component, memory: usize) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Ok(());
    };
    let bytes = needs.max_initial_memory_size.unwrap_or(0) * PAGE;
    let elements = needs.max_initial_table_size.unwrap_or(0);
    let problem = if needs.num_memories > 1 {
        format!("it has {} memories instead of one", needs.num_memories)
    } else if bytes > memory as u64 {
        format!("it begins with {bytes} bytes of memory; {memory} are allowed")
    } else if needs.num_tables > TABLES {
        format!("it has {} tables; {TABLES} are allowed", needs.num_tables)
    } else if elements > TABLE as u64 {
        format!("it begins with a table of {elements} elements; {TABLE} are allowed")
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

fn is_our_contract(ty: &Type, engine: &wasmtime::Engine) -> Result<(), LoadError> {
    let imports = ty.imports(engine).map(|(name, _)| name);
    let exports = ty.exports(engine).map(|(name, _)| name);
    for theirs in imports.chain(exports).filter_map(interface) {
        if !theirs.is_compatible() {
            return Err(LoadError::OtherContract {
                theirs: theirs.version.to_owned(),
            });
        }
    }
    Ok(())
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

impl Interface<'_> {
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

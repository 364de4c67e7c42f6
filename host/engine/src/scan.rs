//! What the bytes of a component say before they are compiled: what it imports and exports, and how
//! much it begins with. Compiling a language's runtime takes seconds, and much of what is wrong with
//! a component is known without.

use wasmparser::{MemoryType, Parser, Payload, TableType};

use crate::LoadError;
use crate::output::printable;
use crate::size::Size;

/// Bytes of a page of memory.
const PAGE: u64 = 64 << 10;

/// The largest component, in bytes: three times Python with its library.
const MOST: usize = 64 << 20;

/// The module of WASI's functions in a core module.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// What stands in a component. Its modules are counted once, however often it instantiates them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Names of what the component itself imports, in order.
    pub(crate) imports: Vec<String>,
    /// Names of what the component itself exports, in order.
    pub(crate) exports: Vec<String>,
    /// Memories of all modules.
    pub(crate) memories: u32,
    /// Bytes that the largest memory begins with.
    pub(crate) memory: u64,
    /// Tables of all modules.
    pub(crate) tables: u32,
    /// Elements that the largest table begins with.
    pub(crate) elements: u64,
    /// Does a core module import WASI?
    pub(crate) preview1: bool,
}

impl Scan {
    /// Reads a component.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut scan = Self::default();
        match bytes {
            [0, b'a', b's', b'm', _, _, 1, 0, ..] if bytes.len() > MOST => {
                Err(LoadError::TooLarge(format!(
                    "it has {}; {} are allowed",
                    Size::of(bytes.len()),
                    Size::of(MOST)
                )))
            }
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => match scan.read(bytes) {
                Ok(()) => Ok(scan),
                Err(error) => Err(LoadError::Compile(error.to_string())),
            },
            [0, b'a', b's', b'm', ..] => {
                // As far as it can be read: a module is refused in any case.
                let _ = scan.read(bytes);
                Err(LoadError::CoreModule {
                    needs_wasi: scan.preview1,
                })
            }
            _ => Err(LoadError::NotWasm),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        self.imports.push(printable(import?.name.name));
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        self.exports.push(printable(export?.name.name));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        self.preview1 |= import?.module == PREVIEW1;
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        self.memory(&memory?);
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        self.table(&table?.ty);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn memory(&mut self, memory: &MemoryType) {
        let page = memory.page_size_log2.map_or(PAGE, |log2| 1 << log2.min(16));
        self.memories += 1;
        self.memory = self.memory.max(memory.initial.saturating_mul(page));
    }

    fn table(&mut self, table: &TableType) {
        self.tables += 1;
        self.elements = self.elements.max(table.initial);
    }
}

//! Where bytes become code: the only place that does what WebAssembly's sandbox cannot take back. It takes
//! what our own build script made, and what our own compiler handed over or kept; nothing else can be
//! made a [`Native`].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use wasmtime::Result;
use wasmtime::component::Component;

/// Native code of a component.
#[derive(Debug)]
pub(crate) enum Native {
    /// Compiled by the build script of this program.
    BuiltIn(&'static [u8]),
    /// Written by our compiler into a file that nobody else could write to.
    File(File),
}

impl Native {
    /// Maps it. An error where it was made for other settings, or for another version of wasmtime.
    pub(crate) fn load(self, engine: &wasmtime::Engine) -> Result<Component> {
        match self {
            Self::BuiltIn(bytes) => from_bytes(engine, bytes),
            Self::File(file) => {
                // Mapped, so that only what runs is in memory; read where files cannot be run.
                from_file(engine, &file).or_else(|_| from_bytes(engine, &whole(file)?))
            }
        }
    }
}

/// All of a file, whatever was read before.
fn whole(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[expect(unsafe_code, reason = "native code of our own making")]
fn from_bytes(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Component> {
    // SAFETY: these bytes are what `Engine::precompile_component` gave.
    unsafe { Component::deserialize(engine, bytes) }
}

#[expect(unsafe_code, reason = "native code of our own making")]
fn from_file(engine: &wasmtime::Engine, file: &File) -> Result<Component> {
    // By its descriptor: a path could lead to another file by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: as above; and nobody changes the file, which lies in memory or in a folder of ours.
    unsafe { Component::deserialize_file(engine, path) }
}

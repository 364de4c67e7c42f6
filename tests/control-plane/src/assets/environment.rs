//! The environment variables that matter here, read once: tests pass their own.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;

#[derive(Debug, Default)]
pub(super) struct Environment {
    /// `PATH`.
    pub(super) path: OsString,
    /// `KUBEBUILDER_ASSETS`, when not empty.
    pub(super) kubebuilder_assets: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, when not empty.
    pub(super) xdg_cache_home: Option<PathBuf>,
    /// `HOME`, when not empty.
    pub(super) home: Option<PathBuf>,
}

impl Environment {
    pub(super) fn of_process() -> Self {
        let folder = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            path: env::var_os("PATH").unwrap_or_default(),
            kubebuilder_assets: folder("KUBEBUILDER_ASSETS"),
            xdg_cache_home: folder("XDG_CACHE_HOME"),
            home: folder("HOME"),
        }
    }

    /// Our folder in the user's cache. A relative `XDG_CACHE_HOME` does not count, as its
    /// specification says.
    pub(super) fn cache_folder(&self) -> anyhow::Result<PathBuf> {
        self.xdg_cache_home
            .clone()
            .filter(|folder| folder.is_absolute())
            .or_else(|| self.home.as_deref().map(|home| home.join(".cache")))
            .map(|cache| cache.join("node-readiness-host"))
            .context(
                "there is no folder to keep the built control plane in: set HOME, or XDG_CACHE_HOME \
                 to an absolute path",
            )
    }
}

//! The folder of one control plane. It is removed at the end, or, if its owner was killed, by the
//! next control plane that starts: etcd alone reserves 64 MB.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

const PREFIX: &str = "node-readiness-host-";
/// The owner holds a lock on this file for as long as it lives.
const OWNER: &str = "owner";

#[derive(Debug)]
pub(super) struct RunFolder {
    folder: TempDir,
    _owned: File,
}

impl RunFolder {
    pub(super) fn new() -> anyhow::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> anyhow::Result<Self> {
        remove_abandoned(parent);
        let folder = TempDir::with_prefix_in(PREFIX, parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        // Locked before it has its name: nobody ever sees it unlocked while we live.
        let unnamed = folder.path().join("owner.new");
        let owned = File::create(&unnamed)
            .and_then(|file| file.lock().map(|()| file))
            .and_then(|file| fs::rename(&unnamed, folder.path().join(OWNER)).map(|()| file))
            .with_context(|| format!("cannot mark {} as ours", folder.path().display()))?;
        Ok(Self {
            folder,
            _owned: owned,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.path().join("admin.kubeconfig")
    }

    pub(super) fn user_kubeconfig(&self, index: usize) -> PathBuf {
        self.path().join(format!("user-{index}.kubeconfig"))
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.path().join("tokens.csv")
    }

    pub(super) fn certificates(&self) -> PathBuf {
        self.path().join("certificates")
    }

    /// Made by the API server, with the CA that signed it in the same file.
    pub(super) fn server_certificate(&self) -> PathBuf {
        self.certificates().join("apiserver.crt")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.path().join("audit.log")
    }

    /// Leaves the folder there for good.
    pub(super) fn keep(self) -> anyhow::Result<PathBuf> {
        let owner = self.path().join(OWNER);
        fs::remove_file(&owner).with_context(|| format!("cannot remove {}", owner.display()))?;
        Ok(self.folder.keep())
    }
}

/// Removes the folders whose owner is dead. What cannot be read or removed is somebody else's.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let abandoned = is_ours
            && File::open(entry.path().join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok());
        if abandoned {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_folder_is_removed_by_the_next_owner_and_a_used_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let used = RunFolder::new_in(parent.path()).unwrap();
        // What a killed process leaves: the folder, and a file that nobody locks.
        let abandoned = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(OWNER), "").unwrap();
        let foreign = parent.path().join("other-program");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join(OWNER), "").unwrap();
        let kept = RunFolder::new_in(parent.path()).unwrap().keep().unwrap();

        let next = RunFolder::new_in(parent.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(used.path().exists() && next.path().exists());
        assert!(foreign.exists() && kept.exists());
    }

    #[test]
    fn a_folder_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::new_in(parent.path()).unwrap();
        let path = folder.path().to_path_buf();
        drop(folder);
        assert!(!path.exists());
    }
}

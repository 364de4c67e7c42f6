//! How much memory there is for a process that compiles, where this one runs in a container with a limit. Beyond
//! that limit the kernel ends everything in the container, the host too; so the child is to fail before.
//!
//! The files are those of the kernel's documentation: `admin-guide/cgroup-v2.rst`, `cgroup-v1/memory.rst`.

use std::fs;
use std::path::{Path, PathBuf};

/// Where groups of processes are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Kept for the host itself, which loads what was compiled.
const OF_THE_HOST: u64 = 32 << 20;

/// A component of this many bytes or fewer needs no more than [`FOR_SMALL`]: one with a parser of CEL in it, of
/// half a MiB, takes 48 MiB to compile.
const SMALL: usize = 1 << 20;
const FOR_SMALL: u64 = 64 << 20;

/// The memory limit of the container, and what is left of it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) limit: u64,
    pub(super) left: u64,
}

/// How its files are named.
struct Version {
    folder: &'static str,
    /// What stands before the path in `/proc/self/cgroup`, after the number.
    controller: &'static str,
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: what was read from files, which the kernel gives back …
    cached: &'static str,
    /// … but for this part of it, which is in no file.
    shared: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        folder: "",
        controller: ":",
        limit: "memory.max",
        used: "memory.current",
        cached: "file",
        shared: "shmem",
    },
    Version {
        folder: "memory",
        controller: "memory:",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        cached: "total_cache",
        shared: "total_shmem",
    },
];

impl Container {
    /// The one of this process. None: it has no limit.
    pub(super) fn of_this_process() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::read(Path::new(MOUNT), &groups)
    }

    fn read(mount: &Path, groups: &str) -> Option<Self> {
        VERSIONS.iter().find_map(|version| {
            let folder = version.folder(mount, groups)?;
            // Without a limit version 2 says `max`, and version 1 more than any machine has.
            let limit = number(&folder.join(version.limit)).filter(|limit| *limit < 1 << 60)?;
            let used = number(&folder.join(version.used))?;
            let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
            let of = |name| entry(&stat, name).unwrap_or(0);
            let given_back = of(version.cached).saturating_sub(of(version.shared));
            let left = limit.saturating_sub(used.saturating_sub(given_back));
            Some(Self { limit, left })
        })
    }

    /// What a process may take that compiles a component of so many bytes. A small one and a large one may be
    /// compiled at the same time, and neither takes what the other needs.
    pub(super) fn share(self, component: usize) -> u64 {
        let left = self.left.saturating_sub(OF_THE_HOST);
        if component <= SMALL {
            left.min(FOR_SMALL)
        } else {
            left.saturating_sub(FOR_SMALL)
        }
    }
}

impl Version {
    fn folder(&self, mount: &Path, groups: &str) -> Option<PathBuf> {
        let mount = mount.join(self.folder);
        let path = groups.lines().find_map(|line| {
            let (_, of) = line.split_once(':')?;
            of.strip_prefix(self.controller)
        })?;
        // In a container the path may be the machine's, and the mount the container's own.
        let own = mount.join(path.trim_start_matches('/'));
        Some(if own.is_dir() { own } else { mount })
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn entry(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Container;

    const MIB: u64 = 1 << 20;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn what_is_left_of_a_limit_does_not_count_what_can_be_given_back() {
        let mount = tempfile::tempdir().unwrap();
        let own = [
            ("memory.max", "134217728\n"),
            ("memory.current", "62914560\n"),
            (
                "memory.stat",
                "anon 20971520\nfile 41943040\nshmem 10485760\n",
            ),
        ];
        write(mount.path(), &own);
        let expected = Container {
            limit: 128 * MIB,
            left: (128 - 30) * MIB,
        };
        // Both where the path is the container's, and where it is the machine's.
        for path in ["0::/", "0::/kubepods/burstable/pod1/2"] {
            let read = Container::read(mount.path(), path);
            assert_eq!(read, Some(expected), "{path}");
        }
        let deeper = mount.path().join("kubepods/pod1");
        write(
            &deeper,
            &[("memory.max", "max\n"), ("memory.current", "5\n")],
        );
        assert_eq!(Container::read(mount.path(), "0::/kubepods/pod1"), None);
    }

    #[test]
    fn the_first_version_is_read_too() {
        let mount = tempfile::tempdir().unwrap();
        let own = [
            ("memory.limit_in_bytes", "134217728\n"),
            ("memory.usage_in_bytes", "62914560\n"),
            (
                "memory.stat",
                "cache 1\ntotal_cache 41943040\ntotal_shmem 10485760\n",
            ),
        ];
        write(&mount.path().join("memory/docker/1"), &own);
        let groups = "5:cpu,memory_not:/x\n4:memory:/docker/1\n0::/\n";
        let read = Container::read(mount.path(), groups).unwrap();
        assert_eq!((read.limit, read.left), (128 * MIB, 98 * MIB));
        let unlimited = mount.path().join("memory/docker/1/memory.limit_in_bytes");
        fs::write(unlimited, "9223372036854771712\n").unwrap();
        assert_eq!(Container::read(mount.path(), groups), None);
    }

    #[test]
    fn files_that_say_nothing_are_no_limit() {
        let mount = tempfile::tempdir().unwrap();
        assert_eq!(Container::read(mount.path(), "0::/\n4:memory:/\n"), None);
        write(
            mount.path(),
            &[("memory.max", "many"), ("memory.current", "5")],
        );
        for groups in ["", "0", "0::/", "::", "nonsense\n"] {
            assert_eq!(Container::read(mount.path(), groups), None, "{groups}");
        }
    }

    #[test]
    fn a_small_component_and_a_large_one_fit_side_by_side() {
        for left in [0, 10, 50, 100, 200, 1000].map(|left| left * MIB) {
            let container = Container { limit: left, left };
            let (small, large) = (container.share(50_000), container.share(2_000_000));
            assert!(small + large <= left, "{left}");
            assert!(
                small <= 64 * MIB && (large == 0 || small == 64 * MIB),
                "{left}"
            );
        }
        let container = Container {
            limit: 256 * MIB,
            left: 226 * MIB,
        };
        assert_eq!(container.share(2_000_000), 130 * MIB);
    }
}

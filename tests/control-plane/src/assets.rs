//! Where the programs are: the folder that `KUBEBUILDER_ASSETS` names, or a cache which is
//! filled by building them.

mod environment;
mod go;
mod key;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use environment::Environment;
use go::{Go, Module, Program};

const KUBERNETES: Module = Module {
    folder: "kubernetes",
    path: "k8s.io/kubernetes",
};
const ETCD: Module = Module {
    folder: "etcd",
    path: "go.etcd.io/etcd/server/v3",
};

const PROMETHEUS: Module = Module {
    folder: "promtool",
    path: "github.com/prometheus/prometheus",
};

/// Of the Kubernetes version of the API server.
const SCHEDULER: Program = Program {
    name: "kube-scheduler",
    module: KUBERNETES,
    package: "k8s.io/kubernetes/cmd/kube-scheduler",
};

/// Of the Kubernetes version of the API server.
const CONTROLLER_MANAGER: Program = Program {
    name: "kube-controller-manager",
    module: KUBERNETES,
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
};

const KWOK: Program = Program {
    name: "kwok",
    module: Module {
        folder: "kwok",
        path: "sigs.k8s.io/kwok",
    },
    package: "sigs.k8s.io/kwok/cmd/kwok",
};

/// Its image has it under this name.
const NODE_PROBLEM_DETECTOR: Program = Program {
    name: "node-problem-detector",
    module: Module {
        folder: "node-problem-detector",
        path: "k8s.io/node-problem-detector",
    },
    package: "k8s.io/node-problem-detector/cmd/nodeproblemdetector",
};

/// Only a test of the metrics wants it.
const PROMTOOL: Program = Program {
    name: "promtool",
    module: PROMETHEUS,
    package: "github.com/prometheus/prometheus/cmd/promtool",
};

/// Only tests of the chart want it.
const HELM: Program = Program {
    name: "helm",
    module: Module {
        folder: "helm",
        path: "helm.sh/helm/v4",
    },
    package: "helm.sh/helm/v4/cmd/helm",
};

/// Only tests of the chart want it.
const KUBECONFORM: Program = Program {
    name: "kubeconform",
    module: Module {
        folder: "kubeconform",
        path: "github.com/yannh/kubeconform",
    },
    package: "github.com/yannh/kubeconform/cmd/kubeconform",
};

/// Ours. Only tests of manifests want it.
const KNOWN_FIELDS: Program = Program {
    name: "known-fields",
    module: Module {
        folder: "known-fields",
        path: "sigs.k8s.io/kind",
    },
    package: ".",
};

/// It is fetched, and nothing of it is built.
const KARPENTER: Module = Module {
    folder: "karpenter",
    path: "sigs.k8s.io/karpenter",
};

/// Only tests of fetching want it.
const REGISTRY: Program = Program {
    name: "registry",
    module: Module {
        folder: "registry",
        path: "github.com/distribution/distribution/v3",
    },
    package: "github.com/distribution/distribution/v3/cmd/registry",
};

/// Only tests of signatures want it.
const COSIGN: Program = Program {
    name: "cosign",
    module: Module {
        folder: "cosign",
        path: "github.com/sigstore/cosign/v3",
    },
    package: "github.com/sigstore/cosign/v3/cmd/cosign",
};

/// Only tests of signatures without a key want it.
const FULCIO: Program = Program {
    name: "fulcio",
    module: Module {
        folder: "sigstore",
        path: "github.com/sigstore/fulcio",
    },
    package: "github.com/sigstore/fulcio",
};

/// Only tests of signatures without a key want it.
const TIMESTAMP_AUTHORITY: Program = Program {
    name: "timestamp-server",
    module: Module {
        folder: "sigstore",
        path: "github.com/sigstore/timestamp-authority/v2",
    },
    package: "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server",
};

/// What every control plane needs, quickest first.
const PROGRAMS: [Program; 3] = [
    Program {
        name: "etcd",
        module: ETCD,
        package: "go.etcd.io/etcd/server/v3",
    },
    Program {
        name: "kubectl",
        module: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kubectl",
    },
    Program {
        name: "kube-apiserver",
        module: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
    },
];

/// How often a build says that it is still alive.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The programs of the control plane: etcd, kube-apiserver and kubectl in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// The folder that holds all of them; what `KUBEBUILDER_ASSETS` can be set to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of etcd.
    pub fn etcd(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// The path of kube-apiserver.
    pub fn kube_apiserver(&self) -> PathBuf {
        self.folder.join("kube-apiserver")
    }

    /// The path of kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.folder.join("kubectl")
    }
}

/// Finds the programs, and builds those that are missing (minutes, the first time on a machine).
///
/// `progress` is called with a line for people: what is being built and for how long, every few
/// seconds, and never when there is nothing to build.
///
/// # Errors
///
/// A sentence that says what to do: `KUBEBUILDER_ASSETS` lacks a program, Go is missing or too
/// old, or a build failed (with the end of its output).
pub fn assets(progress: &mut dyn FnMut(&str)) -> anyhow::Result<Assets> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR"));
    assets_in(&Environment::of_process(), modules, progress)
}

/// Finds the scheduler, and builds it if it is missing (a minute, once the API server was built).
///
/// `progress` is as in [`assets`].
///
/// # Errors
///
/// As [`assets`].
pub fn kube_scheduler(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&SCHEDULER, progress)
}

/// Finds the controller manager, and builds it if it is missing, as [`kube_scheduler`].
///
/// # Errors
///
/// As [`assets`].
pub fn kube_controller_manager(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&CONTROLLER_MANAGER, progress)
}

/// Finds kwok, which plays the kubelet of nodes that are none, and builds it if it is missing (a
/// minute).
///
/// # Errors
///
/// As [`assets`].
pub fn kwok(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&KWOK, progress)
}

/// Finds Node Problem Detector, and builds it if it is missing (a minute).
///
/// # Errors
///
/// As [`assets`].
pub fn node_problem_detector(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&NODE_PROBLEM_DETECTOR, progress)
}

/// The folder `/config` of Node Problem Detector's image: the monitors that it brings. It is fetched with its sources.
///
/// # Errors
///
/// There is no Go, or it cannot fetch it.
pub fn node_problem_detector_config() -> anyhow::Result<PathBuf> {
    let module = NODE_PROBLEM_DETECTOR.module;
    let modules = Path::new(env!("CARGO_MANIFEST_DIR"));
    let go = Go::find(&Environment::of_process(), modules, &[module.folder])?;
    Ok(go.fetched(module)?.join("config"))
}

/// Finds promtool, which checks metrics, and builds it if it is missing (three minutes).
///
/// # Errors
///
/// As [`assets`].
pub fn promtool(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&PROMTOOL, progress)
}

/// Finds Helm, which installs the chart, and builds it if it is missing (two minutes).
///
/// # Errors
///
/// As [`assets`].
pub fn helm(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&HELM, progress)
}

/// Finds kubeconform, which compares manifests with schemas, and builds it if it is missing.
///
/// # Errors
///
/// As [`assets`].
pub fn kubeconform(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&KUBECONFORM, progress)
}

/// Finds the program that decodes strictly what no API server of ours knows, such as configurations of
/// kind, and builds it if it is missing.
///
/// # Errors
///
/// As [`assets`].
pub fn known_fields(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&KNOWN_FIELDS, progress)
}

/// Finds the definition of Karpenter's `NodePool`, and fetches it if it is not there.
///
/// # Errors
///
/// There is no Go that is new enough, or no network.
pub fn karpenter_node_pool() -> anyhow::Result<PathBuf> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR"));
    let go = Go::find(&Environment::of_process(), modules, &["karpenter"])?;
    Ok((go.fetched(KARPENTER)?).join("pkg/apis/crds/karpenter.sh_nodepools.yaml"))
}

/// Finds the OCI registry, and builds it if it is missing (a minute, the first time on a machine).
///
/// # Errors
///
/// As [`promtool`].
pub fn registry(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&REGISTRY, progress)
}

/// Finds cosign, which signs what is in a registry, and builds it if it is missing (three minutes, the
/// first time on a machine).
///
/// # Errors
///
/// As [`promtool`].
pub fn cosign(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&COSIGN, progress)
}

/// Finds Fulcio, which gives certificates to who has a token, and builds it if it is missing (a minute, once cosign was
/// built).
///
/// # Errors
///
/// As [`promtool`].
pub fn fulcio(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&FULCIO, progress)
}

/// Finds Sigstore's timestamp authority, and builds it if it is missing (a minute, once cosign was built).
///
/// # Errors
///
/// As [`promtool`].
pub fn timestamp_authority(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tool(&TIMESTAMP_AUTHORITY, progress)
}

fn tool(program: &Program, progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR"));
    tool_in(&Environment::of_process(), modules, program, progress)
}

/// A program that only some tests want: ready-made, or in a cache folder of its own.
fn tool_in(
    environment: &Environment,
    modules: &Path,
    program: &Program,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<PathBuf> {
    let name = program.name;
    if let Some(folder) = &environment.kubebuilder_assets {
        let ready = folder.join(name);
        if ready.is_file() {
            return Ok(ready);
        }
        // Whoever brings an API server brings what must be of its version; what we would build may be
        // newer than it.
        if program.module == KUBERNETES {
            bail!(
                "KUBEBUILDER_ASSETS is {}, and there is no file `{name}` in it: put the one of the same \
                 Kubernetes version there, or unset the variable to have all of them built from source",
                folder.display(),
            );
        }
    }
    let go = Go::find(environment, modules, &[name])?;
    let cache = environment.cache_folder()?.join(name);
    let programs = std::slice::from_ref(program);
    let folder = built(&go, &cache, &[program.module], programs, progress)?;
    Ok(folder.join(name))
}

/// `modules` is the folder that holds a folder for each Go module.
fn assets_in(
    environment: &Environment,
    modules: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Assets> {
    if let Some(folder) = &environment.kubebuilder_assets {
        return ready_made(folder);
    }
    let go = Go::find(environment, modules, &PROGRAMS.map(|program| program.name))?;
    let cache = environment.cache_folder()?.join("control-plane");
    let folder = built(&go, &cache, &[ETCD, KUBERNETES], &PROGRAMS, progress)?;
    Ok(Assets { folder })
}

/// The folder that holds these programs, after those that are missing were built.
fn built(
    go: &Go,
    cache: &Path,
    modules: &[Module],
    programs: &[Program],
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<PathBuf> {
    let folder = cache.join(go.key(modules)?);
    let is_missing = |program: &Program| !folder.join(program.name).is_file();
    if programs.iter().any(is_missing) {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create the cache folder {}", folder.display()))?;
        let _only_builder = lock(&cache.join("lock"), progress)?;
        for (index, program) in programs.iter().enumerate() {
            // Asked again for each: another process may have built it while we waited.
            if is_missing(program) {
                let position = format!("{} of {}", index + 1, programs.len());
                go.build(program, &folder, &position, progress)?;
            }
        }
    }
    Ok(folder)
}

/// The convention of envtest and kubebuilder: somebody else's binaries, taken as they are.
fn ready_made(folder: &Path) -> anyhow::Result<Assets> {
    for Program { name, .. } in PROGRAMS {
        if !folder.join(name).is_file() {
            bail!(
                "KUBEBUILDER_ASSETS is {}, and there is no file `{name}` in it: put etcd, kube-apiserver \
                 and kubectl into that folder, or unset the variable to have them built from source",
                folder.display(),
            );
        }
    }
    Ok(Assets {
        folder: folder.to_path_buf(),
    })
}

/// Two test binaries that start together must not both spend minutes on the same build.
fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<File> {
    let file = File::create(path)
        .with_context(|| format!("cannot create the lock file {}", path.display()))?;
    let start = Instant::now();
    let mut next_report = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        if start.elapsed() >= next_report {
            progress(&format!(
                "waiting for another process that builds the control plane: {}",
                elapsed(start)
            ));
            next_report += PROGRESS_INTERVAL;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// `45 s`, `3 min 05 s`.
fn elapsed(start: Instant) -> String {
    let seconds = start.elapsed().as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests;

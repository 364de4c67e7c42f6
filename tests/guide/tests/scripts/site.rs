//! A cluster, and what the scripts have at hand.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster_tests::Cluster;
use cluster_tests::helm::Helm;
use control_plane::{Options, User};
use serde_json::Value;
use tempfile::TempDir;

/// What every system has. Beside it the scripts need kubectl and helm, and nothing else.
const TOOLS: [&str; 6] = ["bash", "cat", "dirname", "env", "grep", "sed"];

/// A kind, a namespace and a name, with the object. Not those that a control plane has of its own.
pub(crate) type State = BTreeMap<String, Value>;

/// What a script left behind.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) helm: Helm,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let assets = control_plane::assets(&mut |_| {}).unwrap();
        let options = Options {
            users: vec![User::new("reader")],
            ..Options::default()
        };
        let cluster = Cluster::start_with(&assets, &options).await.unwrap();
        let helm = Helm::new(&cluster).unwrap();
        Self { cluster, helm }
    }

    /// A folder for a `PATH` on which there is no more than what the scripts need, without these.
    pub(crate) fn programs(&self, without: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let kubectl = self.cluster.plane.kubectl_command();
        let mut all = vec![
            ("kubectl", PathBuf::from(kubectl.get_program())),
            ("helm", self.helm.program().to_owned()),
        ];
        all.extend(TOOLS.map(|tool| (tool, on_path(tool).unwrap())));
        for (name, program) in all {
            if !without.contains(&name) {
                symlink(program, folder.path().join(name)).unwrap();
            }
        }
        folder
    }

    /// Runs a script from the root of the repository.
    pub(crate) fn run(&self, script: &str, variables: &[(&str, &str)]) -> Said {
        let programs = self.programs(&[]);
        let mut command = self.command(script, programs.path());
        command.envs(variables.iter().copied());
        end_of(command)
    }

    /// A command that finds these programs and this cluster, and nothing else of the caller's environment.
    pub(crate) fn command(&self, script: &str, programs: &Path) -> Command {
        let mut command = Command::new(programs.join("bash"));
        command.arg(script).env_clear().env("PATH", programs);
        command.current_dir(cli_tests::program::workspace());
        command.envs(self.helm.variables().iter().cloned());
        command
    }

    /// All objects that the scripts could touch.
    pub(crate) fn state(&self) -> State {
        let kinds = "namespaces,nodes,nodereadinessrules,daemonsets,deployments,ingresses,configmaps,secrets,\
                     serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings";
        let get = ["get", kinds, "--all-namespaces", "--output=json"];
        let list: Value =
            serde_json::from_str(&self.cluster.plane.kubectl_ok(&get).unwrap()).unwrap();
        let mut state = State::new();
        for object in list["items"].as_array().unwrap() {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            let namespace = text("/metadata/namespace").unwrap_or_default();
            let name = text("/metadata/name").unwrap();
            let is_own = namespace.starts_with("kube-")
                || name.starts_with("kube-")
                || object["metadata"]["labels"]["kubernetes.io/bootstrapping"].is_string();
            if !is_own {
                let kind = text("/kind").unwrap();
                state.insert(format!("{kind}/{namespace}/{name}"), object.clone());
            }
        }
        state
    }

    /// Falco's DaemonSet.
    pub(crate) fn falco(&self) -> Value {
        self.state()["DaemonSet/falco/falco"].clone()
    }

    /// Its tolerations.
    pub(crate) fn tolerations(&self) -> Value {
        self.falco()["spec"]["template"]["spec"]["tolerations"].clone()
    }
}

/// Runs a command to its end.
pub(crate) fn end_of(mut command: Command) -> Said {
    let output = command.output().unwrap();
    Said {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Where a program is.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

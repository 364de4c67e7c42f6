//! Helm, against a control plane on which nothing runs: the Jobs of its hooks and the Deployment's pod are
//! started here, with their own arguments and the tokens of their own ServiceAccounts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Cluster, Host, host_program, wait};

/// Helm with a home of its own.
pub struct Helm {
    program: PathBuf,
    _home: TempDir,
    /// Those of the cluster's kubectl: discovery is remembered by server and port, and a port is used again.
    variables: Vec<(OsString, OsString)>,
}

impl Helm {
    /// For a cluster's administrator.
    ///
    /// # Errors
    /// Helm cannot be built.
    pub fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let kubectl = cluster.plane.kubectl_command();
        let mut variables: Vec<_> = kubectl
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            variables.push((variable.into(), home.path().into()));
        }
        Ok(Self {
            program: control_plane::helm(&mut |_| {})?,
            _home: home,
            variables,
        })
    }

    /// Where the program is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What helm and kubectl find in their environment.
    pub fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// The chart of this repository.
    pub fn chart() -> PathBuf {
        cli_tests::program::workspace().join("deploy/helm/node-readiness-controller")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Runs it where no hook is waited for, and returns its standard output.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(arguments, self.command().args(arguments).output()?)
    }

    /// Runs it, and the Jobs that it creates meanwhile. Returns what these said.
    ///
    /// # Errors
    /// It failed, or a Job did; with what they said.
    pub async fn run(&self, cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(arguments);
        with_jobs(cluster, command, &arguments.join(" ")).await
    }

    /// As [`Helm::run`], for a line of a document: helm, kubectl and host are on the `PATH`.
    ///
    /// # Errors
    /// As [`Helm::run`].
    pub async fn shell(
        &self,
        cluster: &Cluster,
        line: &str,
        folder: &Path,
    ) -> anyhow::Result<String> {
        let kubectl = cluster.plane.kubectl_command();
        let programs = [
            self.program.as_path(),
            host_program()?,
            Path::new(kubectl.get_program()),
        ];
        let folders = programs.into_iter().filter_map(Path::parent);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = folders
            .map(Path::to_owned)
            .chain(std::env::split_paths(&path));
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(folder);
        command.envs(self.variables.iter().cloned());
        command.env("PATH", std::env::join_paths(all)?);
        with_jobs(cluster, command, line).await
    }
}

/// Runs a command, and the Jobs that are created meanwhile; what both said.
async fn with_jobs(cluster: &Cluster, mut command: Command, what: &str) -> anyhow::Result<String> {
    let running = tokio::task::spawn_blocking(move || command.output());
    let (output, said) = while_jobs_run(cluster, running).await?;
    let printed = checked(&[what], output??).with_context(|| said.clone())?;
    Ok(said + &printed)
}

/// Waits for some work, and runs the Jobs that are created meanwhile; what it came to, and what they said.
///
/// # Errors
/// A Job failed; with what it said.
pub async fn while_jobs_run<T>(
    cluster: &Cluster,
    work: impl Future<Output = T>,
) -> anyhow::Result<(T, String)> {
    tokio::pin!(work);
    let mut said = String::new();
    loop {
        tokio::select! {
            done = &mut work => return Ok((done, said)),
            job = run_a_job(cluster) => said.push_str(&job?),
        }
    }
}

fn checked(arguments: &[&str], output: Output) -> anyhow::Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{} failed: {}{}",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

/// Waits for a Job that has not ended, and does what its pod would do.
async fn run_a_job(cluster: &Cluster) -> anyhow::Result<String> {
    let jobs = Api::<Job>::all(cluster.client.clone());
    let job = loop {
        let listed = jobs.list(&Default::default()).await?;
        let ended = |job: &Job| job.status.as_ref().is_some_and(|s| s.conditions.is_some());
        if let Some(job) = listed.into_iter().find(|job| !ended(job)) {
            break job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let (name, namespace) = (job.name_any(), job.namespace().unwrap_or_default());
    let template = job.spec.context("a Job without a spec")?.template;
    let pod = Pod::of(&template)?;
    ensure!(pod.command == ["/host"], "{:?}", pod.command);
    let kubeconfig = kubeconfig_of(cluster, &namespace, &pod.account)?;
    let mut command = Command::new(host_program()?);
    command.args(&pod.arguments).env("KUBECONFIG", &kubeconfig);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.success(),
        "Job {name} failed, {:?}:\n{said}",
        pod.arguments
    );
    let now = Timestamp::now().to_string();
    let condition =
        |name: &str| json!({ "type": name, "status": "True", "lastTransitionTime": now });
    let status = json!({ "status": {
        "startTime": now, "completionTime": now, "succeeded": 1, "uncountedTerminatedPods": {},
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    Api::<Job>::namespaced(cluster.client.clone(), &namespace)
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(said)
}

/// What a pod template starts.
struct Pod {
    account: String,
    command: Vec<String>,
    arguments: Vec<String>,
}

impl Pod {
    fn of(template: &PodTemplateSpec) -> anyhow::Result<Self> {
        let spec = template.spec.clone().context("a pod without a spec")?;
        let container = spec.containers.into_iter().next();
        let container = container.context("a pod without a container")?;
        Ok(Self {
            account: spec.service_account_name.unwrap_or_default(),
            command: container.command.unwrap_or_default(),
            arguments: container.args.unwrap_or_default(),
        })
    }
}

/// A kubeconfig with a token of a ServiceAccount and its namespace, as a pod has them.
///
/// # Errors
/// There is no such account.
pub fn kubeconfig_of(cluster: &Cluster, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
    let arguments = ["create", "token", "--namespace", namespace, account];
    let token = cluster.plane.kubectl_ok(&arguments)?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(cluster.kubeconfig())?)?;
    config["users"][0]["user"] = json!({ "token": token.trim() });
    config["contexts"][0]["context"]["namespace"] = json!(namespace);
    let path = cluster.plane.folder().join(format!("{account}.kubeconfig"));
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Starts the host of a Deployment as its pod would, but for the ports, and waits until its caches are
/// synced.
///
/// # Errors
/// As [`Host::start`].
pub async fn start_pod_of(
    cluster: &Cluster,
    namespace: &str,
    deployment: &str,
    more: &[&str],
) -> anyhow::Result<Host> {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), namespace);
    let spec = deployments.get(deployment).await?.spec;
    let pod = Pod::of(&spec.context("a Deployment without a spec")?.template)?;
    ensure!(pod.command == ["/manager"], "{:?}", pod.command);
    let kubeconfig = kubeconfig_of(cluster, namespace, &pod.account)?;
    // A pod reads its namespace from a file.
    let lease = format!("--leader-election-namespace={namespace}");
    // … and has a volume where this machine has none.
    let cache = cluster.plane.folder().join("policy-cache");
    let cache = format!("--policy-cache={}", cache.display());
    let mut arguments: Vec<&str> = vec![&lease];
    arguments.extend(pod.arguments.iter().map(String::as_str));
    arguments.extend(["--health-probe-bind-address=0", &cache]);
    arguments.extend(more);
    Host::start(&kubeconfig, &cluster.new_log(), &arguments).await
}

/// Ends a host when its Deployment is scaled to zero, as a kubelet would.
///
/// # Errors
/// It is not scaled, or the host does not end.
pub async fn stop_when_scaled_down(
    cluster: &Cluster,
    namespace: &str,
    deployment: &str,
    host: Host,
) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), namespace);
    wait::until_true("the Deployment is scaled to zero", || async {
        let spec = deployments.get(deployment).await?.spec;
        Ok(spec.and_then(|spec| spec.replicas) == Some(0))
    })
    .await?;
    host.terminate().await
}

/// Compares manifests with the schemas of a running API server, and objects of cert-manager and of the
/// Prometheus operator with their types, strictly: a field that they do not know is an error.
///
/// # Errors
/// What kubeconform or known-fields says.
pub async fn conforms(cluster: &Cluster, manifests: &Path) -> anyhow::Result<String> {
    let schemas = cluster.plane.folder().join("schemas");
    if !schemas.exists() {
        std::fs::create_dir(&schemas)?;
        for url in schema_documents(cluster).await? {
            let raw = format!("--raw={url}");
            let document = cluster.plane.kubectl_ok(&["get", &raw])?;
            write_schemas(&schemas, &document)?;
        }
    }
    let location = schemas.join("{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json");
    let mut kubeconform = Command::new(control_plane::kubeconform(&mut |_| {})?);
    kubeconform.args(["-strict", "-summary", "-schema-location"]);
    // Their definitions are not in this cluster, and so their Go types are asked.
    let skipped = "Certificate,Issuer,PodMonitor,PrometheusRule,ServiceMonitor";
    kubeconform.arg(location).args(["-skip", skipped]);
    let known_fields = Command::new(control_plane::known_fields(&mut |_| {})?);
    let mut said = String::new();
    for mut program in [known_fields, kubeconform] {
        let output = program.arg(manifests).output()?;
        said += &String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{said}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(said)
}

/// Where the API server serves its schemas. Those of a definition come some time after it is established.
async fn schema_documents(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    wait::until("the schemas of every definition", || async {
        let index: Value =
            serde_json::from_str(&cluster.plane.kubectl_ok(&["get", "--raw=/openapi/v3"])?)?;
        let paths = index["paths"].as_object().context("no paths")?;
        for definition in definitions.list(&Default::default()).await? {
            for version in definition
                .spec
                .versions
                .iter()
                .filter(|version| version.served)
            {
                let path = format!("apis/{}/{}", definition.spec.group, version.name);
                if !paths.contains_key(&path) {
                    return Ok(Err(format!("nothing at {path}")));
                }
            }
        }
        let urls = paths
            .values()
            .filter_map(|path| path["serverRelativeURL"].as_str());
        Ok(Ok(urls.map(str::to_owned).collect()))
    })
    .await
}

fn write_schemas(folder: &Path, document: &str) -> anyhow::Result<()> {
    let document = document.replace("#/components/schemas/", "#/definitions/");
    let mut document: Value = serde_json::from_str(&document)?;
    let mut definitions = document["components"]["schemas"].take();
    let Some(all) = definitions.as_object_mut() else {
        return Ok(());
    };
    for definition in all.values_mut() {
        // Kubernetes' own schemas say nothing of other fields, and its strict validation refuses them.
        if definition.get("properties").is_some() {
            definition["additionalProperties"] = json!(false);
        }
    }
    for (name, definition) in all.iter() {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds.into_iter().flatten() {
            let text = |field: &str| kind[field].as_str().unwrap_or_default().to_lowercase();
            let (kind, group, version) = (text("kind"), text("group"), text("version"));
            // kubeconform takes the version of the core API for its group.
            let group = if group.is_empty() { &version } else { &group };
            let file = folder.join(format!("{kind}-{group}-{version}.json"));
            let schema = json!({ "$ref": format!("#/definitions/{name}"), "definitions": &all });
            std::fs::write(file, schema.to_string())?;
        }
    }
    Ok(())
}

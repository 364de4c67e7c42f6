//! What a kubelet would do for a pod of Node Problem Detector: start it with what its manifest says, and with the files
//! that are mounted.

use std::collections::BTreeMap;
use std::fs::{Permissions, create_dir_all, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use cluster_tests::helm::kubeconfig_of;
use control_plane::NodeProblemDetector;
use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, Pod, PodSpec};
use kube::ResourceExt;
use kube::api::Api;

use crate::Guide;

/// The program in its image.
const PROGRAM: &str = "/node-problem-detector";

/// Starts the Node Problem Detector of a pod that is bound to a node: with the command and the variables of its
/// container, the ConfigMaps that it mounts, and the token of its ServiceAccount, if no other kubeconfig is given.
/// In the arguments and files some texts are replaced, for what is elsewhere in a test.
///
/// # Errors
/// A text is nowhere, a manifest asks for something that this cannot give, or it does not start.
pub async fn start_detector(
    guide: &Guide,
    pod: &Pod,
    kubeconfig: Option<&Path>,
    replaced: &[(&str, &str)],
) -> anyhow::Result<NodeProblemDetector> {
    let cluster = &guide.cluster;
    let namespace = pod.namespace().unwrap_or_default();
    let spec = pod.spec.as_ref().context("a pod without a spec")?;
    let [container] = spec.containers.as_slice() else {
        anyhow::bail!("not one container in {}", pod.name_any());
    };
    let command = container.command.as_deref().unwrap_or_default();
    let (program, arguments) = command.split_first().context("no command")?;
    ensure!(program == PROGRAM, "the image has no {program}");
    ensure!(container.args.is_none(), "args are not looked at");
    let mut arguments = arguments.to_vec();

    let mut files = BTreeMap::new();
    let root = cluster.plane.folder().join(pod.name_any());
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let mut volumes = spec.volumes.iter().flatten();
        let volume = volumes.find(|volume| volume.name == mount.name);
        let volume = volume.with_context(|| format!("no volume {}", mount.name))?;
        let Some(source) = &volume.config_map else {
            continue;
        };
        let at = mount.mount_path.trim_matches('/');
        mounts.push((format!("/{at}/"), format!("{}/", root.join(at).display())));
        let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &namespace);
        let map = maps.get(&source.name).await?;
        for (path, text, mode) in items(source, map)? {
            files.insert(root.join(at).join(path), (text, mode));
        }
    }
    let everywhere = || {
        let texts = files.values().map(|(text, _)| text);
        texts.chain(&arguments)
    };
    for (text, _) in replaced {
        ensure!(
            everywhere().any(|found| found.contains(text)),
            "{text} is nowhere"
        );
    }
    // Paths of the test come last: nothing in them is to be replaced.
    let mounts = mounts
        .iter()
        .map(|(at, folder)| (at.as_str(), folder.as_str()));
    let all: Vec<_> = replaced.iter().copied().chain(mounts).collect();
    let put = |text: &str| {
        all.iter()
            .fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    };
    for argument in &mut arguments {
        *argument = put(argument);
    }
    for (path, (text, mode)) in files {
        create_dir_all(path.parent().context("a file is in a folder")?)?;
        write(&path, put(&text))?;
        set_permissions(&path, Permissions::from_mode(mode))?;
    }
    let account = spec.service_account_name.clone().unwrap_or_default();
    let kubeconfig = match kubeconfig {
        Some(kubeconfig) => kubeconfig.to_owned(),
        None => kubeconfig_of(cluster, &namespace, &account)?,
    };
    let variables = variables(spec)?;
    NodeProblemDetector::start_with(&cluster.plane, &kubeconfig, &arguments, &variables)
}

/// The files of a ConfigMap: their paths in the volume, what is in them, and their mode.
fn items(
    source: &ConfigMapVolumeSource,
    map: ConfigMap,
) -> anyhow::Result<Vec<(PathBuf, String, u32)>> {
    let data = map.data.unwrap_or_default();
    let mode = |mode: Option<i32>| u32::try_from(mode.or(source.default_mode).unwrap_or(0o644));
    let Some(items) = &source.items else {
        let all = data.into_iter();
        return all
            .map(|(key, text)| Ok((key.into(), text, mode(None)?)))
            .collect();
    };
    items
        .iter()
        .map(|item| {
            let text = data.get(&item.key).cloned();
            let text =
                text.with_context(|| format!("ConfigMap {} has no {}", source.name, item.key))?;
            Ok((PathBuf::from(&item.path), text, mode(item.mode)?))
        })
        .collect()
}

fn variables(spec: &PodSpec) -> anyhow::Result<Vec<(String, String)>> {
    let node = spec.node_name.as_ref().context("the pod is on no node")?;
    let variables = spec.containers.iter().flat_map(|container| &container.env);
    variables
        .flatten()
        .map(|variable| {
            let from = variable.value_from.as_ref();
            let field = from.and_then(|from| from.field_ref.as_ref());
            let value = match (&variable.value, field) {
                (Some(value), None) => value.clone(),
                (None, Some(field)) if field.field_path == "spec.nodeName" => node.clone(),
                _ => anyhow::bail!("{variable:?} is not known here"),
            };
            Ok((variable.name.clone(), value))
        })
        .collect()
}

//! Which cluster is meant, and by what credentials.
//!
//! What the client's own errors do not say is checked here before it is asked: which file, which
//! context, which entry of it. Two values that it does not check at all would make it panic.

use std::io;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError,
    LoadDataError,
};

use super::{Way, explain};

const VARIABLE: &str = "KUBECONFIG";
/// Set in every pod.
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const NAME_ANOTHER: &str = "name another file with --kubeconfig or KUBECONFIG";
const CORRECT: &str = "correct it, or name another file with --kubeconfig or KUBECONFIG";
const CHOOSE: &str = "choose one with `kubectl config use-context NAME`";

/// The given file, else `$KUBECONFIG`, else in cluster, else the home folder's.
///
/// # Errors
/// A sentence: where, what, what to do.
pub(super) async fn find(given: Option<&Path>) -> Result<(Config, Way), String> {
    if let Some(path) = given {
        return load(&[path.to_owned()]).await;
    }
    let variable = std::env::var_os(VARIABLE).unwrap_or_default();
    let files: Vec<PathBuf> = std::env::split_paths(&variable)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if !files.is_empty() {
        return load(&files).await;
    }
    let no_pod = match Config::incluster() {
        Ok(config) => {
            let way = Way::new("the service account of this pod", &config, "its token");
            return Ok((config, way));
        }
        Err(error) => error,
    };
    match std::env::home_dir().map(|home| home.join(".kube/config")) {
        Some(file) if file.exists() => load(&[file]).await,
        _ if std::env::var_os(POD_VARIABLE).is_some() => Err(format!(
            "no cluster: the service account of this pod, in {ACCOUNT}, cannot be used: {}: \
             mount it (automountServiceAccountToken: true), or give --kubeconfig",
            match no_pod {
                InClusterError::ReadEnvironmentVariable(_) =>
                    "KUBERNETES_SERVICE_PORT is not set".to_owned(),
                error => explain::chain(&error),
            }
        )),
        file => {
            let home = file.map_or_else(
                || "there is no home folder".to_owned(),
                |file| format!("there is no {}", file.display()),
            );
            Err(format!(
                "no cluster: {home}: give --kubeconfig, set {VARIABLE}, or run in a cluster"
            ))
        }
    }
}

async fn load(files: &[PathBuf]) -> Result<(Config, Way), String> {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let place = format!("kubeconfig {}", names.join(":"));
    let mut merged = Kubeconfig::default();
    for file in files {
        let next = Kubeconfig::read_from(file).map_err(|error| unreadable(file, &error))?;
        if let Some(kind) = next.kind.as_deref().filter(|kind| *kind != "Config") {
            let file = file.display();
            return Err(format!(
                "kubeconfig {file}: this is a {kind}, and a kubeconfig has `kind: Config`: {NAME_ANOTHER}"
            ));
        }
        merged = merged
            .merge(next)
            .map_err(|error| format!("{place}: {error}: {CORRECT}"))?;
    }
    let chosen = Chosen::of(&merged, &place)?;
    let place = format!("{place}, context '{}'", chosen.name);
    let wrong = |what: String| format!("{place}: {what}: {CORRECT}");
    chosen.check().map_err(&wrong)?;
    let who = chosen.who();
    let (cluster, plugin) = (chosen.context.cluster.clone(), chosen.plugin());
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default())
        .await
        .map_err(|error| wrong(unusable(&error, &format!("cluster '{cluster}'"))))?;
    let scheme = config.cluster_url.scheme_str();
    if !matches!(scheme, Some("https" | "http")) {
        return Err(wrong(format!(
            "the server of cluster '{cluster}' is {}, which does not begin with https:// or http://",
            config.cluster_url
        )));
    }
    if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        return Err(wrong(format!(
            "the certificate authority of cluster '{cluster}' has no certificate in it"
        )));
    }
    let mut way = Way::new(&place, &config, &who);
    way.plugin = plugin;
    Ok((config, way))
}

impl Way {
    fn new(place: &str, config: &Config, who: &str) -> Self {
        Self {
            place: place.to_owned(),
            server: config
                .cluster_url
                .to_string()
                .trim_end_matches('/')
                .to_owned(),
            who: who.to_owned(),
            plugin: None,
        }
    }
}

/// The current context, with what it names.
struct Chosen<'a> {
    name: &'a str,
    context: &'a Context,
    cluster: &'a Cluster,
    /// As kubectl, the client asks anonymously where the user is missing.
    user: Option<&'a AuthInfo>,
}

impl<'a> Chosen<'a> {
    fn of(file: &'a Kubeconfig, place: &str) -> Result<Self, String> {
        let contexts: Vec<_> = file.contexts.iter().map(|one| one.name.as_str()).collect();
        if contexts.is_empty() {
            return Err(format!("{place}: there is no context in it: {CORRECT}"));
        }
        let known = contexts.join(", ");
        let name = file.current_context.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(format!(
                "{place}: it has no current-context: {CHOOSE}; it has {known}"
            ));
        }
        let context = (file.contexts.iter())
            .find(|one| one.name == name)
            .and_then(|one| one.context.as_ref());
        let Some(context) = context else {
            return Err(format!(
                "{place}: there is no context '{name}' in it, which is its current-context: {CHOOSE}; it has {known}"
            ));
        };
        let cluster = (file.clusters.iter())
            .find(|one| one.name == context.cluster)
            .and_then(|one| one.cluster.as_ref());
        let Some(cluster) = cluster else {
            return Err(format!(
                "{place}, context '{name}': there is no cluster '{}' in it: {CORRECT}",
                context.cluster
            ));
        };
        let user = context.user.as_ref().and_then(|user| {
            let named = file.auth_infos.iter().find(|one| one.name == *user);
            named.and_then(|one| one.auth_info.as_ref())
        });
        Ok(Self {
            name,
            context,
            cluster,
            user,
        })
    }

    /// Finds what the client takes without a look, or does not name when it refuses it.
    fn check(&self) -> Result<(), String> {
        if self
            .cluster
            .server
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            return Err(format!("cluster '{}' has no server", self.context.cluster));
        }
        // The only way to the token that needs no further library.
        let user = serde_json::to_value(self.user).unwrap_or_default();
        let token = user["token"].as_str().unwrap_or_default();
        if http::HeaderValue::from_str(token).is_err() {
            return Err(format!(
                "the token of {} has a line break or another control character in it",
                self.who()
            ));
        }
        Ok(())
    }

    fn who(&self) -> String {
        match (self.context.user.as_deref().unwrap_or_default(), self.user) {
            ("", _) => "an anonymous user, and this context names no other".to_owned(),
            (user, None) => format!("an anonymous user, and there is no user '{user}' in the file"),
            (user, Some(_)) => format!("user '{user}'"),
        }
    }

    fn plugin(&self) -> Option<String> {
        self.user?.exec.as_ref()?.command.clone()
    }
}

fn unreadable(file: &Path, error: &KubeconfigError) -> String {
    let place = format!("kubeconfig {}", file.display());
    match error {
        KubeconfigError::ReadConfig(error, _) => {
            format!("{place}: {}: {NAME_ANOTHER}", reading(error))
        }
        KubeconfigError::Parse(error) => {
            let at = error.location().map_or_else(String::new, |location| {
                format!(":{}:{}", location.line(), location.column())
            });
            // In one line: no excerpt, which could show a token.
            let what = error.without_snippet().to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            let what = what
                .replace("expected sequence start", "a list is expected here")
                .replace("expected mapping start", "a map of fields is expected here")
                .replace("expected string scalar", "a string is expected here");
            format!("{place}{at}: this is no kubeconfig: {what}: {CORRECT}")
        }
        error => format!("{place}: {error}: {CORRECT}"),
    }
}

/// Why a file cannot be read.
pub(super) fn reading(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder, and a file is needed".to_owned(),
        io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// What is wrong with an entry of a kubeconfig. `of` names the cluster or the user.
pub(super) fn unusable(error: &KubeconfigError, of: &str) -> String {
    let (field, error) = match error {
        KubeconfigError::LoadCertificateAuthority(error) => ("certificate-authority", error),
        KubeconfigError::LoadClientCertificate(error) => ("client-certificate", error),
        KubeconfigError::LoadClientKey(error) => ("client-key", error),
        KubeconfigError::ParseCertificates(_) => {
            return format!("the certificate authority of {of} is not in PEM");
        }
        KubeconfigError::ParseClusterUrl(error) => {
            return format!("the server of {of} is no URL: {error}");
        }
        KubeconfigError::ParseProxyUrl(error) => {
            return format!("the proxy-url of {of}, or HTTPS_PROXY, is no URL: {error}");
        }
        error => return explain::chain(error),
    };
    match error {
        LoadDataError::DecodeBase64(_) => format!("{field}-data of {of} is not base64"),
        LoadDataError::ReadFile(error, path) => format!(
            "{field} of {of} names {}: {}",
            path.display(),
            reading(error)
        ),
        LoadDataError::NoBase64DataOrFile => format!("{field} of {of} is missing"),
    }
}

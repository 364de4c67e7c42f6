//! Who may talk to the API server, and the files that say so.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::json;

use super::run_folder::RunFolder;

/// A user whom the API server knows by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user name, as RBAC bindings name it.
    pub name: String,
    /// The groups beside `system:authenticated`.
    pub groups: Vec<String>,
}

impl User {
    /// A user without groups.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            groups: Vec::new(),
        }
    }

    fn admin() -> Self {
        Self {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        }
    }
}

/// Writes the token file of the API server and a kubeconfig for the administrator and each user.
pub(super) fn write(folder: &RunFolder, url: &str, users: &[User]) -> anyhow::Result<()> {
    let mut tokens = String::new();
    let admin = (&User::admin(), folder.admin_kubeconfig());
    let others = users
        .iter()
        .enumerate()
        .map(|(index, user)| (user, folder.user_kubeconfig(index)));
    for (user, path) in std::iter::once(admin).chain(others) {
        let token = random_token()?;
        tokens.push_str(&token_line(user, &token)?);
        let kubeconfig = kubeconfig(url, &folder.server_certificate(), user, &token);
        save(&path, &kubeconfig)?;
    }
    save(&folder.tokens(), &tokens)
}

/// kubectl with a kubeconfig, untouched by the settings of whoever runs it. Its discovery cache
/// is kept per port, and a port is used again by another control plane with other CRDs.
pub(super) fn kubectl(program: &Path, kubeconfig: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", folder.join("kubectl-cache"))
        .env("KUBECTL_KUBERC", "false");
    command
}

/// JSON is YAML, and needs no quoting rules of our own.
fn kubeconfig(url: &str, ca: &Path, user: &User, token: &str) -> String {
    let name = "control-plane";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": { "server": url, "certificate-authority": ca },
        }],
        "users": [{ "name": user.name, "user": { "token": token } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": user.name } }],
        "current-context": name,
    });
    format!("{config:#}\n")
}

/// A line of CSV: token, user name, UID, groups.
fn token_line(user: &User, token: &str) -> anyhow::Result<String> {
    let User { name, groups } = user;
    if name.is_empty() || groups.iter().any(|group| group.contains(',')) {
        anyhow::bail!("{user:?}: a user needs a name, and no group may have a comma in its name");
    }
    let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
    Ok(format!(
        "{token},{},{},{}\n",
        quoted(name),
        quoted(name),
        quoted(&groups.join(","))
    ))
}

/// 128 bits in hexadecimal. A control plane that was kept must not be open to every local user.
fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    let mut token = String::new();
    for byte in bytes {
        write!(token, "{byte:02x}")?;
    }
    Ok(token)
}

/// For its owner alone: what it holds lets in whoever can read it.
pub(super) fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

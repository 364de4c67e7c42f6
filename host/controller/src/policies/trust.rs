//! The trust root that is mounted, for policies that are signed without a key.

use std::fs;
use std::path::Path;

use fetch::{Identity, Keyless, TrustedRoot};

use super::known::apart;
use super::trouble::{Step, Trouble};

/// Who may sign without a key, with the trust root as it is now: who exchanges it need not restart the host.
pub(super) async fn keyless(
    identities: &[Identity],
    root: Option<&Path>,
) -> Result<Option<Keyless>, Trouble> {
    if identities.is_empty() {
        return Ok(None);
    }
    let trouble = |message: String| Trouble::passing(Step::Verified, "NoTrustedRoot", message);
    let Some(file) = root.map(Path::to_owned) else {
        let message = "spec.signature.keyless: this host has no trust root: mount the trusted_root.json of who gives \
                       the certificates, and name it by --trusted-root (value policyTrustedRoot of the chart)";
        return Err(trouble(message.to_owned()));
    };
    let identities = identities.to_vec();
    let read = move || {
        let about = |error: &dyn std::error::Error| {
            trouble(format!("--trusted-root={}: {error}", file.display()))
        };
        let json = fs::read(&file).map_err(|error| about(&error))?;
        let root = TrustedRoot::from_json(&json).map_err(|error| about(&error))?;
        Ok(Some(Keyless { identities, root }))
    };
    apart(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_for_identities_is_told_what_to_mount() {
        let one = [Identity::new("https://issuer.example.com", "release@example.com").unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trusted_root.json");
        assert!(keyless(&[], None).await.unwrap().is_none());
        assert!(keyless(&[], Some(&file)).await.unwrap().is_none());
        let said = async |root: Option<&Path>| {
            let trouble = keyless(&one, root).await.unwrap_err();
            assert_eq!(trouble.reason, "NoTrustedRoot");
            assert!(trouble.passes);
            trouble.message
        };
        assert!(
            said(None)
                .await
                .contains("this host has no trust root: mount")
        );
        let missing = said(Some(&file)).await;
        assert!(missing.contains("No such file"), "{missing}");
        fs::write(&file, "{}").unwrap();
        let refused = said(Some(&file)).await;
        assert!(refused.contains("it is no trust root"), "{refused}");
    }
}

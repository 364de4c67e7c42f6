//! Where cosign leaves its signatures in a registry.

use super::Repository;
use super::manifest::{Descriptor, Manifest};
use crate::digest::Digest;
use crate::error::Problem;
use crate::limits::{SIGNATURE, SIGNATURES};
use crate::reference::Version;
use crate::signature::{
    BUNDLE, Findings, PREDICATE, PREDICATE_ANNOTATION, SIMPLE, SIMPLE_SIGNATURE, Signer, Signers,
    Worth, bundle_of_artifact, simple_of_artifact,
};

impl Repository<'_> {
    /// Who signed one of these digests: that of an artifact, or of an index
    /// and what it leads to. The first is the one that messages name.
    pub(crate) async fn signer(
        &self,
        digests: &[Digest],
        signers: Signers<'_>,
    ) -> Result<Signer, Problem> {
        let mut findings = Findings::default();
        for digest in digests {
            let listed = self.referrers(digest, BUNDLE).await?;
            if let Some(signer) = self
                .bundles(listed, digests, signers, &mut findings)
                .await?
            {
                return Ok(signer);
            }
            // Where a registry keeps no list, who writes keeps it under this tag; and who wrote before the
            // registry learned it has kept it there too.
            let tag = format!("sha256-{}", digest.hex());
            let listed = match self.tagged(&tag, &mut findings).await? {
                Some(Manifest::Index(entries)) => entries,
                _ => Vec::new(),
            };
            if let Some(signer) = self
                .bundles(listed, digests, signers, &mut findings)
                .await?
            {
                return Ok(signer);
            }
            let older = match self.tagged(&format!("{tag}.sig"), &mut findings).await? {
                Some(Manifest::Image(image)) => image.layers,
                _ => Vec::new(),
            };
            if let Some(signer) = self.simple(older, digests, signers, &mut findings).await? {
                return Ok(signer);
            }
        }
        match digests.first() {
            Some(digest) => Err(findings.problem(*digest)),
            None => Err(Problem::OtherArtifact {
                why: "there is nothing to verify".to_owned(),
            }),
        }
    }

    async fn bundles(
        &self,
        listed: Vec<Descriptor>,
        digests: &[Digest],
        signers: Signers<'_>,
        findings: &mut Findings,
    ) -> Result<Option<Signer>, Problem> {
        let may_be_one = |entry: &&Descriptor| {
            let artifact_type = entry.artifact_type.as_deref();
            let predicate = entry.annotation(PREDICATE_ANNOTATION);
            artifact_type.is_none_or(|kind| kind == BUNDLE)
                && predicate.is_none_or(|kind| kind == PREDICATE)
        };
        for entry in listed.iter().filter(may_be_one).take(SIGNATURES) {
            let worth = self.bundle(entry, digests, signers).await;
            if let Some(signer) = findings.add(tolerant(worth)?) {
                return Ok(Some(signer));
            }
        }
        Ok(None)
    }

    async fn bundle(
        &self,
        entry: &Descriptor,
        digests: &[Digest],
        signers: Signers<'_>,
    ) -> Result<Worth, Problem> {
        let found = self.manifest(&Version::Digest(entry.digest()?)).await?;
        let Manifest::Image(image) = found.manifest else {
            return Ok(Worth::Irrelevant);
        };
        let is_bundle = |layer: &&Descriptor| layer.media_type == BUNDLE;
        let Some(layer) = image.layers.iter().find(is_bundle) else {
            return Ok(Worth::Irrelevant);
        };
        let bundle = self.blob(layer, SIGNATURE).await?;
        Ok(bundle_of_artifact(&bundle, digests, signers))
    }

    async fn simple(
        &self,
        layers: Vec<Descriptor>,
        digests: &[Digest],
        signers: Signers<'_>,
        findings: &mut Findings,
    ) -> Result<Option<Signer>, Problem> {
        let is_one = |layer: &&Descriptor| layer.media_type == SIMPLE;
        for layer in layers.iter().filter(is_one).take(SIGNATURES) {
            let Some(signature) = layer.annotation(SIMPLE_SIGNATURE) else {
                findings.add(Worth::Unreadable("its annotation is missing".to_owned()));
                continue;
            };
            let payload = self.blob(layer, SIGNATURE).await;
            let worth =
                payload.map(|payload| simple_of_artifact(&payload, signature, digests, signers));
            if let Some(signer) = findings.add(tolerant(worth)?) {
                return Ok(Some(signer));
            }
        }
        Ok(None)
    }

    /// What a tag names; nothing where there is no such tag.
    async fn tagged(
        &self,
        tag: &str,
        findings: &mut Findings,
    ) -> Result<Option<Manifest>, Problem> {
        let found = match self.manifest(&Version::Tag(tag.to_owned())).await {
            Ok(found) => return Ok(Some(found.manifest)),
            Err(Problem::NotFound { .. }) => return Ok(None),
            Err(problem) => Err(problem),
        };
        findings.add(tolerant(found)?);
        Ok(None)
    }
}

/// One that cannot be read must not hide another that can: anybody who may push could leave one. What is
/// no matter of its content is an error.
fn tolerant(worth: Result<Worth, Problem>) -> Result<Worth, Problem> {
    match worth {
        Err(
            problem @ (Problem::OtherArtifact { .. }
            | Problem::TooLarge { .. }
            | Problem::WrongDigest { .. }
            | Problem::Truncated { .. }
            | Problem::NotFound { .. }),
        ) => Ok(Worth::Unreadable(problem.to_string())),
        worth => worth,
    }
}

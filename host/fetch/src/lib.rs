//! Brings the bytes of a policy module from where it is, and proves that they are the ones that are
//! wanted: by their digest, and by who signed them.
//!
//! A server is not trusted. Nothing that it sends is kept beyond a bound, whatever it announces;
//! everything is hashed as it was received; credentials go to the server that they are for. Signatures
//! are those of cosign, by key or by certificate, and are checked offline.
//!
//! ```no_run
//! # async fn example(pem: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use fetch::{Access, Client, Limits, PublicKey, Signers, Source, Wanted};
//!
//! let source: Source = "oci://registry.example.com/policies/steady:1.0".parse()?;
//! let keys = PublicKey::from_pem(pem)?;
//! let client = Client::new(Access::default(), Limits::default())?;
//! let signers = Signers::keys(&keys);
//! let module = client.fetch(Wanted { source: &source, digest: None, signers }).await?;
//! println!("{:?} has {} bytes", module.reference, module.bytes.len());
//! # Ok(())
//! # }
//! ```

mod client;
mod credentials;
mod digest;
mod error;
mod limits;
mod reference;
mod registry;
mod session;
mod signature;
mod source;
mod trust;
mod web;

pub use client::{Access, Client, Module, TlsUnusable, Wanted};
pub use credentials::{Credentials, InvalidCredentials};
pub use digest::{Digest, InvalidDigest};
pub use error::{FetchError, Problem, Shown};
pub use limits::Limits;
pub use reference::{InvalidReference, Reference, Version};
pub use registry::Component;
pub use signature::{
    Identity, InvalidIdentity, InvalidKey, InvalidTrustedRoot, Keyless, PublicKey, Signer, Signers,
    TrustedRoot,
};
pub use source::{InvalidSource, Source};
pub use trust::{Authorities, InvalidAuthorities};

//! What is kept in a folder: native code, and the modules that it was made of. Whoever can write to it could
//! run code in the host, so nothing in it is believed: the folder is this user's alone, and each entry carries
//! a code that only the key beside it makes, over what it is and what it was made of.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use crate::Hex;

/// The folder in the given one: that may be anybody's, such as a volume.
const FOLDER: &str = "compiled-policies";

const KEY: &str = "key";

/// Bytes of all entries, unless less is wanted. The ones that were not used for longest go first.
const MOST: u64 = 1 << 30;

/// Files of this process that are being written.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// A folder with native code and modules.
#[derive(Clone)]
pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    most: u64,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It cannot be made, or its key not be read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could put code there.
    #[error(
        "{path} belongs to another user, or others may write to it: compiled policies are kept only where \
         nobody else can replace them; `chmod 700` it, or give another folder"
    )]
    Shared {
        /// The folder.
        path: PathBuf,
    },
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Uses a folder in this one, and makes both where they are missing.
    ///
    /// # Errors
    ///
    /// Where that is not possible, and where others may write to it.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let path = folder.join(FOLDER);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            |source| CacheError::File { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(&path)(error));
            }
            _ => {}
        }
        if !is_ours(&fs::symlink_metadata(&path).map_err(failed(&path))?) {
            return Err(CacheError::Shared { path });
        }
        let key = key(&path).map_err(failed(&path.join(KEY)))?;
        Ok(Self {
            folder: path,
            key,
            most: MOST,
        })
    }

    /// With so many bytes at most in all entries.
    #[must_use]
    pub fn with_at_most(self, bytes: u64) -> Self {
        Self {
            most: bytes,
            ..self
        }
    }

    /// The bytes that were kept under a name of these parts; none: there are none.
    ///
    /// # Errors
    ///
    /// Where something is there that this host has not written, or that cannot be read: it is removed, and is
    /// to be kept again.
    pub fn bytes(&self, name: &[&[u8]]) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.entry(name).load()? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Keeps bytes under a name of these parts, in the place of those that were there.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be written to.
    pub fn keep(&self, name: &[&[u8]], bytes: &[u8]) -> io::Result<()> {
        let entry = self.entry(name);
        let (mut file, part) = entry.create()?;
        file.write_all(bytes)?;
        part.keep(file)
    }

    /// What is kept under these parts: of native code, a component and the settings that it was made with.
    pub(super) fn entry(&self, bound: &[&[u8]]) -> Entry<'_> {
        let mut hash = Sha256::new();
        for part in bound {
            // Each with its length, so that nothing moves from one to the next.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Entry {
            cache: self,
            name: Hex(&hash.finalize()).to_string(),
        }
    }

    /// Removes what was not used for longest. That other processes use the folder does no harm: an entry that is gone is made again, and one that is mapped stays mapped.
    fn tidy(&self, most: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            // Gone meanwhile: another process does the same.
            if let Ok(metadata) = file.metadata()
                && file.file_name() != KEY
            {
                files.push((metadata.modified()?, metadata.len(), file.path()));
            }
        }
        files.sort();
        let mut size: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, len, path) in files {
            if size <= most {
                break;
            }
            size -= len;
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// One component, compiled for certain settings.
pub(super) struct Entry<'a> {
    cache: &'a Cache,
    name: String,
}

/// An entry that is being written; removed unless it is kept.
pub(super) struct Part<'a> {
    entry: &'a Entry<'a>,
    path: PathBuf,
}

impl Entry<'_> {
    /// The native code, if there is any. An error where something is there that we have not written, or not
    /// so: it is removed.
    pub(super) fn load(&self) -> io::Result<Option<File>> {
        let path = self.path();
        let mut file = match open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut code = [0; 32];
        let sealed = is_ours(&file.metadata()?)
            && open(&self.seal())
                .and_then(|mut seal| seal.read_exact(&mut code))
                .is_ok()
            && self.code(&mut file)? == code;
        if !sealed {
            let _ = fs::remove_file(&path);
            return Err(io::Error::other(format!(
                "{} was not written by this host, or was changed since",
                path.display()
            )));
        }
        // What is used stays longest, and is nothing without its seal.
        let now = SystemTime::now();
        let _ = file.set_modified(now);
        let _ = open(&self.seal()).and_then(|seal| seal.set_modified(now));
        Ok(Some(file))
    }

    /// A new file for it.
    pub(super) fn create(&self) -> io::Result<(File, Part<'_>)> {
        let number = PARTS.fetch_add(1, Relaxed);
        let name = format!("{}.{}.{number}.part", self.name, process::id());
        let path = self.cache.folder.join(name);
        let file = new(&path)?;
        Ok((file, Part { entry: self, path }))
    }

    fn path(&self) -> PathBuf {
        self.cache.folder.join(&self.name)
    }

    fn seal(&self) -> PathBuf {
        self.cache.folder.join(format!("{}.seal", self.name))
    }

    /// HMAC-SHA-256 over the entry's name, which stands for all that it was made of, and its bytes.
    fn code(&self, file: &mut File) -> io::Result<[u8; 32]> {
        let keyed = |pad: u8| {
            let mut block = [pad; 64];
            for (byte, key) in block.iter_mut().zip(self.cache.key) {
                *byte ^= key;
            }
            Sha256::new_with_prefix(block)
        };
        let mut inner = keyed(0x36);
        inner.update(&self.name);
        file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => inner.update(&buffer[..read]),
            }
        }
        let mut outer = keyed(0x5c);
        outer.update(inner.finalize());
        Ok(outer.finalize().into())
    }
}

impl Part<'_> {
    /// Makes what was written the entry.
    pub(super) fn keep(self, mut file: File) -> io::Result<()> {
        let code = self.entry.code(&mut file)?;
        let seal = self.path.with_extension("seal");
        let written = new(&seal)
            .and_then(|mut file| file.write_all(&code))
            .and_then(|()| fs::rename(&seal, self.entry.seal()))
            .and_then(|()| fs::rename(&self.path, self.entry.path()));
        if written.is_err() {
            let _ = fs::remove_file(&seal);
        }
        written?;
        self.entry.cache.tidy(self.entry.cache.most)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        // Not there if it was kept.
        let _ = fs::remove_file(&self.path);
    }
}

/// Nobody else's, and nobody else can write to it.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

/// Never what a link leads to.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

fn new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// The key of a folder; made when the folder is used for the first time.
fn key(folder: &Path) -> io::Result<[u8; 32]> {
    let path = folder.join(KEY);
    let mut key = [0; 32];
    let read = |key: &mut [u8; 32]| open(&path).and_then(|mut file| file.read_exact(key));
    match read(&mut key) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done.map(|()| key),
    }
    let mut random = File::open("/dev/urandom")?;
    random.read_exact(&mut key)?;
    // Threads of one process may both be here, and a process that was killed may have left its file.
    let mut name = [0; 8];
    random.read_exact(&mut name)?;
    let part = folder.join(format!("{KEY}.{}.part", Hex(&name)));
    new(&part)?.write_all(&key)?;
    // Of two processes one is first, and both take its key.
    let linked = fs::hard_link(&part, &path);
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(&mut key).map(|()| key),
    }
}

#[cfg(test)]
mod tests;

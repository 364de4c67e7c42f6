use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    (folder, cache)
}

fn keep(cache: &Cache, bound: &[&[u8]], bytes: &[u8]) {
    let entry = cache.entry(bound);
    let (mut file, part) = entry.create().unwrap();
    file.write_all(bytes).unwrap();
    part.keep(file).unwrap();
}

fn read(cache: &Cache, bound: &[&[u8]]) -> io::Result<Option<Vec<u8>>> {
    let file = cache.entry(bound).load()?;
    Ok(file.map(|mut file| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }))
}

/// Names of all files but the key.
fn names(cache: &Cache) -> Vec<String> {
    let files = fs::read_dir(&cache.folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != KEY).collect();
    names.sort();
    names
}

const BOUND: &[&[u8]] = &[b"sha256:1", b"settings"];

#[test]
fn an_entry_is_found_again_by_all_that_it_was_made_of() {
    let (folder, cache) = folder();
    assert_eq!(read(&cache, BOUND).unwrap(), None);
    keep(&cache, BOUND, b"code");
    let again = Cache::open(folder.path()).unwrap();
    for cache in [&cache, &again] {
        assert_eq!(read(cache, BOUND).unwrap().as_deref(), Some(&b"code"[..]));
        let others: [&[&[u8]]; 4] = [
            &[b"sha256:2", b"settings"],
            &[b"sha256:1", b"other"],
            &[b"sha256:1settings"],
            &[b"sha256:1s", b"ettings"],
        ];
        for other in others {
            assert_eq!(read(cache, other).unwrap(), None);
        }
    }
    // And written again.
    keep(&cache, BOUND, b"newer");
    assert_eq!(read(&cache, BOUND).unwrap().as_deref(), Some(&b"newer"[..]));
}

#[test]
fn bytes_are_kept_like_code_and_no_more_of_them_than_is_wanted() {
    let (_folder, cache) = folder();
    let name: &[&[u8]] = &[b"module", b"sha256:1"];
    assert_eq!(cache.bytes(name).unwrap(), None);
    cache.keep(name, b"module").unwrap();
    assert_eq!(cache.bytes(name).unwrap().as_deref(), Some(&b"module"[..]));
    fs::write(cache.entry(name).path(), b"m0dule").unwrap();
    assert!(cache.bytes(name).is_err());
    assert_eq!(cache.bytes(name).unwrap(), None);
    let little = cache.with_at_most(1100);
    for number in [b"1", b"2"] {
        little.keep(&[b"module", number], &[7; 1000]).unwrap();
    }
    let sizes = fs::read_dir(&little.folder).unwrap();
    let sizes = sizes
        .map(|file| file.unwrap())
        .filter(|file| file.file_name() != KEY);
    let size: u64 = sizes.map(|file| file.metadata().unwrap().len()).sum();
    assert!(size <= 1100, "{size}");
}

#[test]
fn what_was_changed_is_refused_and_removed() {
    let (_folder, cache) = folder();
    let path = cache.entry(BOUND).path();
    let seal = cache.entry(BOUND).seal();
    let changes: [&dyn Fn(); 5] = [
        &|| fs::write(&path, b"c0de").unwrap(),
        &|| fs::write(&path, b"code and more").unwrap(),
        &|| fs::write(&path, b"").unwrap(),
        &|| fs::write(&seal, [0; 32]).unwrap(),
        &|| fs::remove_file(&seal).unwrap(),
    ];
    for change in changes {
        keep(&cache, BOUND, b"code");
        change();
        let error = read(&cache, BOUND).unwrap_err().to_string();
        assert!(error.contains("was changed since"), "{error}");
        assert_eq!(read(&cache, BOUND).unwrap(), None);
    }
}

#[test]
fn what_others_wrote_is_refused() {
    let (_folder, cache) = folder();
    let (_other, foreign) = self::folder();
    keep(&foreign, BOUND, b"code");
    let copy = |from: &Entry<'_>, to: &Entry<'_>| {
        fs::copy(from.path(), to.path()).unwrap();
        fs::copy(from.seal(), to.seal()).unwrap();
    };
    // With another key.
    copy(&foreign.entry(BOUND), &cache.entry(BOUND));
    assert!(read(&cache, BOUND).is_err());
    // Our own, for another component.
    let other: &[&[u8]] = &[b"sha256:2", b"settings"];
    keep(&cache, other, b"code");
    copy(&cache.entry(other), &cache.entry(BOUND));
    assert!(read(&cache, BOUND).is_err());
    // What anybody may write to, whatever it is now.
    keep(&cache, BOUND, b"code");
    let path = cache.entry(BOUND).path();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(read(&cache, BOUND).is_err());
    // A link to what is right.
    keep(&cache, BOUND, b"code");
    let elsewhere = cache.folder.join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(read(&cache, BOUND).is_err());
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let (folder, cache) = folder();
    fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o770)).unwrap();
    let error = Cache::open(folder.path()).unwrap_err();
    assert!(matches!(error, CacheError::Shared { .. }), "{error}");
    assert!(error.to_string().contains("chmod 700"), "{error}");

    let linked = tempfile::tempdir().unwrap();
    symlink(&cache.folder, linked.path().join(FOLDER)).unwrap();
    let error = Cache::open(linked.path()).unwrap_err();
    assert!(matches!(error, CacheError::Shared { .. }), "{error}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Cache::open(file.path()).unwrap_err();
    assert!(matches!(error, CacheError::File { .. }), "{error}");
}

#[test]
fn what_was_not_finished_leaves_nothing() {
    let (_folder, cache) = folder();
    let entry = cache.entry(BOUND);
    let (mut file, part) = entry.create().unwrap();
    file.write_all(b"co").unwrap();
    drop(part);
    assert_eq!(names(&cache), [] as [&str; 0]);
    assert_eq!(read(&cache, BOUND).unwrap(), None);
}

#[test]
fn all_who_open_a_new_folder_take_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Cache::open(folder.path()).map(|cache| cache.key)))
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.map(Result::unwrap).collect()
    });
    assert!(keys.iter().all(|key| key == &keys[0]));
    assert_ne!(keys[0], [0; 32]);
    assert_eq!(names(&Cache::open(folder.path()).unwrap()), [] as [&str; 0]);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let (_folder, cache) = folder();
    let bound: Vec<[&[u8]; 1]> = vec![[b"1"], [b"2"], [b"3"]];
    for bound in &bound {
        keep(&cache, bound, &[7; 1000]);
    }
    let long_ago = SystemTime::UNIX_EPOCH;
    for bound in &bound {
        let entry = cache.entry(bound);
        open(&entry.path()).unwrap().set_modified(long_ago).unwrap();
        open(&entry.seal()).unwrap().set_modified(long_ago).unwrap();
    }
    // Used: no longer the oldest.
    assert!(read(&cache, &bound[1]).unwrap().is_some());
    cache.tidy(1500).unwrap();
    let left: Vec<_> = bound
        .iter()
        .map(|bound| read(&cache, bound).is_ok_and(|found| found.is_some()))
        .collect();
    assert_eq!(left, [false, true, false]);
    assert!(cache.folder.join(KEY).is_file());
}

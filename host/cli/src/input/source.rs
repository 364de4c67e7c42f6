//! Where the bytes come from.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::BadInput;

/// Stands for standard input in place of a path.
pub const STDIN: &str = "-";

/// The endings that make a file of a folder count.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A file's name, as the user gave it, and its content.
#[derive(Debug)]
pub struct Source {
    /// For messages.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Reads every file, the files of every folder in the order of their names, and standard input for
/// `-`. Folders in folders are not looked into.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, BadInput> {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match read_path(path) {
            Ok(found) => sources.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(sources)
    } else {
        Err(BadInput(problems))
    }
}

fn read_path(path: &Path) -> Result<Vec<Source>, String> {
    if path.as_os_str() == STDIN {
        let mut bytes = Vec::new();
        io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|error| format!("standard input cannot be read: {error}"))?;
        return Ok(vec![Source {
            name: "standard input".to_owned(),
            bytes,
        }]);
    }
    if path.is_dir() {
        return folder(path)?.iter().map(|path| file(path)).collect();
    }
    Ok(vec![file(path)?])
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: io::Error| unreadable(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let counts = file.extension().is_some_and(|ending| {
            ENDINGS
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        });
        if counts && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "the folder {} has no file that ends in .yaml, .yml or .json: \
             name a folder with such files, or the files themselves",
            path.display()
        ));
    }
    files.sort();
    Ok(files)
}

fn file(path: &Path) -> Result<Source, String> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    Ok(Source {
        name: path.display().to_string(),
        bytes,
    })
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file or folder {}", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    }
}

impl Source {
    /// Does it look like JSON? YAML that does is tried as YAML when it turns out to be none.
    pub fn looks_like_json(&self) -> bool {
        self.bytes.trim_ascii_start().starts_with(b"{")
    }

    /// Is it JSON by its name?
    pub fn is_json_file(&self) -> bool {
        Path::new(&self.name)
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_files_sorted_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "c.JSON", "d.txt", "e"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("f.yaml")).unwrap();
        let sources = read(&[folder.path().to_owned()]).unwrap();
        let contents: Vec<_> = sources
            .iter()
            .map(|source| source.bytes.as_slice())
            .collect();
        assert_eq!(contents, [b"a.yaml".as_slice(), b"b.yml", b"c.JSON"]);
    }

    #[test]
    fn everything_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.yaml");
        let BadInput(problems) = read(&[missing, folder.path().to_owned()]).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].ends_with("missing.yaml"), "{}", problems[0]);
        assert!(
            problems[1].contains("has no file that ends in"),
            "{}",
            problems[1]
        );
    }
}

//! What a document tells its reader to type, typed.
//!
//! A block ```` ```sh ```` is run once, and must succeed. In a block ```` ```console ```` each line that begins with `$ ` is
//! a command, and what follows is what it prints: it is asked until it does. With ```` ```console once ```` it is
//! run a single time, since it changes something. Everything else is for reading.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::{Cluster, host_program, wait};

/// A document in Markdown. Every section that has commands must be run before it is dropped by
/// [`Document::end`].
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    sections: Vec<Section>,
}

#[derive(Debug, PartialEq, Eq)]
struct Section {
    heading: String,
    steps: Vec<Step>,
}

/// Something to type.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A block of the shell.
    Run(String),
    /// A command, and what it prints in the end.
    Look { command: String, shown: String },
    /// A command, and what it prints.
    Once { command: String, shown: String },
}

impl Document {
    /// Reads a file, by its path in the repository.
    ///
    /// # Errors
    /// The file cannot be read, or has an open block.
    pub fn read(path: &str) -> anyhow::Result<Self> {
        let path = cli_tests::program::workspace().join(path);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let sections = sections(&text).with_context(|| path.display().to_string())?;
        Ok(Self { path, sections })
    }

    /// Does what the next section that has commands says, and returns what each of its blocks of the shell
    /// printed. Its heading is given so that the test says what happens.
    ///
    /// # Errors
    /// That section has another heading; or a command failed, or did not print what is shown.
    pub async fn section(&mut self, heading: &str, shell: &Shell) -> anyhow::Result<Vec<String>> {
        let next = (self.sections.iter()).position(|section| !section.steps.is_empty());
        let next = next.context("every section was done already")?;
        let section = self.sections.remove(next);
        let place = format!("{}, \"{}\"", self.path.display(), section.heading);
        ensure!(section.heading == heading, "next is {place}");
        let mut said = Vec::new();
        for step in section.steps {
            said.extend(step.take(shell).await.with_context(|| place.clone())?);
        }
        Ok(said)
    }

    /// Says that nothing is left to be typed.
    ///
    /// # Errors
    /// A section with commands was not done.
    pub fn end(self) -> anyhow::Result<()> {
        let left = self
            .sections
            .iter()
            .find(|section| !section.steps.is_empty());
        let left = left.map(|section| section.heading.as_str());
        ensure!(
            left.is_none(),
            "{}: nobody ran section {left:?}",
            self.path.display()
        );
        Ok(())
    }
}

impl Step {
    async fn take(self, shell: &Shell) -> anyhow::Result<Option<String>> {
        match self {
            Self::Run(block) => return Ok(Some(shell.run(&block).await?)),
            Self::Once { command, shown } => {
                let printed = shell.show(&command).await?;
                ensure!(
                    printed == shown,
                    "{command} printed:\n{printed}\nand not:\n{shown}"
                );
            }
            Self::Look { command, shown } => {
                wait::until(&format!("{command} prints:\n{shown}"), || async {
                    let printed = shell.show(&command).await?;
                    Ok(if printed == shown {
                        Ok(())
                    } else {
                        Err(printed)
                    })
                })
                .await?;
            }
        }
        Ok(None)
    }
}

/// The blocks `sh` of a page of this repository, in their order, for a test that types them in its own way.
///
/// # Errors
/// As [`Document::read`]; or there is no such block.
pub fn shell_blocks(page: &str) -> anyhow::Result<Vec<String>> {
    let sections = Document::read(page)?.sections;
    let steps = sections.into_iter().flat_map(|section| section.steps);
    let blocks: Vec<String> = steps
        .filter_map(|step| match step {
            Step::Run(block) => Some(block),
            Step::Look { .. } | Step::Once { .. } => None,
        })
        .collect();
    ensure!(!blocks.is_empty(), "{page} tells nobody to type anything");
    Ok(blocks)
}

fn sections(text: &str) -> anyhow::Result<Vec<Section>> {
    let section = |heading: &str| Section {
        heading: heading.to_owned(),
        steps: Vec::new(),
    };
    let mut sections = vec![section("")];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((marks, heading)) = line.split_once(' ')
            && !marks.is_empty()
            && marks.trim_matches('#').is_empty()
        {
            sections.push(section(heading));
        }
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut block = String::new();
        loop {
            let line = lines.next().context("a block that does not end")?;
            if line.trim() == "```" {
                break;
            }
            block.push_str(line.get(indent..).unwrap_or_default());
            block.push('\n');
        }
        let steps = match language {
            "sh" => vec![Step::Run(block)],
            "console" => sessions(&block, |command, shown| Step::Look { command, shown })?,
            "console once" => sessions(&block, |command, shown| Step::Once { command, shown })?,
            _ => continue,
        };
        if let Some(section) = sections.last_mut() {
            section.steps.extend(steps);
        }
    }
    Ok(sections)
}

fn sessions(block: &str, step: impl Fn(String, String) -> Step) -> anyhow::Result<Vec<Step>> {
    let block = block.strip_prefix("$ ");
    let block = block.context("a block of console begins with `$ `")?;
    // Each session ends with the end of a line.
    let block = block.strip_suffix('\n').unwrap_or(block);
    let sessions = block.split("\n$ ").map(|session| {
        let (command, shown) = match session.split_once('\n') {
            Some((command, shown)) => (command, format!("{shown}\n")),
            None => (session, String::new()),
        };
        step(command.to_owned(), shown)
    });
    Ok(sessions.collect())
}

/// Where somebody types: kubectl and host are on the `PATH`, the cluster is the current one, and paths are
/// those of the repository.
#[derive(Debug, Clone)]
pub struct Shell {
    programs: Vec<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    folder: PathBuf,
}

impl Shell {
    /// For a cluster's administrator.
    ///
    /// # Errors
    /// The host cannot be built.
    pub fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let kubectl = cluster.plane.kubectl_command();
        let variables = kubectl.get_envs();
        let variables = variables.filter_map(|(name, value)| Some((name.into(), value?.into())));
        let kubeconfig = ("KUBECONFIG".into(), cluster.kubeconfig().into());
        Ok(Self {
            variables: variables.chain([kubeconfig]).collect(),
            programs: vec![kubectl.get_program().into(), host_program()?.to_owned()],
            folder: cli_tests::program::workspace(),
        })
    }

    /// With one more program on the `PATH`, before all others.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.programs.insert(0, program.to_owned());
        self
    }

    /// With more variables.
    #[must_use]
    pub fn with_variables(mut self, variables: &[(OsString, OsString)]) -> Self {
        self.variables.extend_from_slice(variables);
        self
    }

    /// In another folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// A command for these lines, which ends at the first that fails.
    ///
    /// # Errors
    /// A folder that cannot be in `PATH`.
    pub fn command(&self, lines: &str) -> anyhow::Result<Command> {
        let folders = self.programs.iter().filter_map(|program| program.parent());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = folders
            .map(Path::to_owned)
            .chain(std::env::split_paths(&path));
        let mut command = Command::new("sh");
        command
            .args(["-ec", lines])
            .current_dir(&self.folder)
            .env("PATH", std::env::join_paths(all)?)
            .envs(self.variables.iter().cloned());
        Ok(command)
    }

    /// Runs these lines, and returns what a terminal would show.
    ///
    /// # Errors
    /// They failed; with what they said.
    pub async fn run(&self, lines: &str) -> anyhow::Result<String> {
        let (succeeded, said) = self.said(lines).await?;
        ensure!(succeeded, "{lines} failed: {said}");
        Ok(said)
    }

    /// Runs a command that may fail, and returns what a terminal would show.
    ///
    /// # Errors
    /// There is no shell.
    pub async fn show(&self, command: &str) -> anyhow::Result<String> {
        Ok(self.said(command).await?.1)
    }

    async fn said(&self, lines: &str) -> anyhow::Result<(bool, String)> {
        let mut command = self.command(&format!("exec 2>&1\n{lines}"))?;
        // What a test serves goes on meanwhile.
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success(), said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(command: &str, shown: &str) -> Step {
        Step::Look {
            command: command.to_owned(),
            shown: shown.to_owned(),
        }
    }

    #[test]
    fn blocks_belong_to_their_section_and_sessions_have_an_output() {
        let text = "# Title\n\n```yaml\na: 1\n```\n## One\n\n1. So:\n\n   ```sh\n   one \\\n     two\n   ```\n\n\
            ```console\n$ a b\n$ c\nline 1\n\nline 2\n$ d\n\n$ f\n\n```\n### Two\n#no heading\n```console once\n$ e\n```\n";
        let sections = sections(text).unwrap();
        let found: Vec<_> = (sections.iter())
            .map(|section| (section.heading.as_str(), section.steps.as_slice()))
            .collect();
        let one = [
            Step::Run("one \\\n  two\n".to_owned()),
            look("a b", ""),
            look("c", "line 1\n\nline 2\n"),
            look("d", "\n"),
            look("f", "\n"),
        ];
        let two = [Step::Once {
            command: "e".to_owned(),
            shown: String::new(),
        }];
        let none: &[Step] = &[];
        assert_eq!(
            found,
            [("", none), ("Title", none), ("One", &one), ("Two", &two)]
        );
    }

    #[test]
    fn a_block_that_cannot_be_meant_is_an_error() {
        assert!(sections("```sh\na\n").is_err());
        assert!(sections("```console\na\n```\n").is_err());
    }
}

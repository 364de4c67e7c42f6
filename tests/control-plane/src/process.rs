//! A child process that never outlives its purpose: it is ended when its [`Process`] is dropped,
//! and by the kernel when this process is killed.

mod spawner;

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end by itself. kube-apiserver needs about a second.
const GRACE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// What an error shows of a log.
const TAIL_LINES: usize = 15;
const TAIL_BYTES: u64 = 16 * 1024;

/// How long a child may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// No longer than this process, even if that is killed.
    OfThisProcess,
    /// It may be left running on purpose.
    Unbound,
}

/// A command whose child lives as long as `lifetime` says.
///
/// The kernel's parent death signal needs a call between fork and exec, which is unsafe code in
/// Rust; `setpriv` of util-linux makes that call and becomes the program. Without it
/// (other systems, BusyBox) only the drop of [`Process`] ends the child.
pub fn command(program: &Path, lifetime: Lifetime) -> Command {
    match (lifetime, setpriv()) {
        (Lifetime::OfThisProcess, Some(setpriv)) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// As [`command`], for a server, which sees nothing of the environment: etcd takes any `ETCD_…`
/// variable as a flag.
pub(crate) fn server_command(program: &Path, lifetime: Lifetime) -> Command {
    let mut command = command(program, lifetime);
    command.env_clear();
    command
}

/// Its full path, since the servers are started without a `PATH`.
fn setpriv() -> Option<&'static Path> {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let program = find_program(&env::var_os("PATH")?, "setpriv")?;
        let status = Command::new(&program)
            .args(["--pdeathsig", "KILL", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(program)
    };
    PATH.get_or_init(find).as_deref()
}

/// The first file of that name in the folders of `path`, which is a value of `PATH`.
pub(crate) fn find_program(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder != Path::new(""))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A process ended although it was still needed.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended by itself ({status}). The end of {}:\n{tail}", .log.display())]
pub(crate) struct EndedEarly {
    name: &'static str,
    status: ExitStatus,
    log: PathBuf,
    tail: String,
}

impl EndedEarly {
    /// Whether another program took the port between our choice and the bind.
    pub(crate) fn port_was_taken(&self) -> bool {
        self.tail.contains("address already in use")
    }
}

/// A running child with its log.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    /// `None` once it was left running.
    child: Option<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts it, both outputs going to the file `log`.
    ///
    /// # Errors
    ///
    /// The log cannot be written, or there is no such program.
    pub fn spawn(name: &'static str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log)
            .with_context(|| format!("cannot create the log file {}", log.display()))?;
        let second = file.try_clone().context("cannot duplicate a file handle")?;
        command.stdin(Stdio::null()).stdout(file).stderr(second);
        let program = command.get_program().to_owned();
        let child = spawner::spawn(command)
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Self {
            name,
            child: Some(child),
            log: log.to_path_buf(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// `None` while it runs.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn exit_status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        child
            .try_wait()
            .with_context(|| format!("cannot ask whether {} still runs", self.name))
    }

    /// An [`EndedEarly`] if it does not run any more.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.exit_status()? else {
            return Ok(());
        };
        Err(EndedEarly {
            name: self.name,
            status,
            log: self.log.clone(),
            tail: self.log_tail(),
        }
        .into())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(cannot be read: {error})"))
    }

    /// Gives it up: it runs on after this process.
    pub fn leave_running(mut self) -> u32 {
        let pid = self.pid();
        self.child = None;
        pid
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

/// Asks the process to end, and ends it by force when it does not.
fn end(child: &mut Child) {
    // Nothing can be reported from a drop; a process that is gone already is what is wanted.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        sleep(POLL_INTERVAL);
    }
}

/// User and system time of a process, in seconds; fields 14 and 15 of proc(5)'s `stat`.
///
/// # Errors
///
/// There is no such process, or no `/proc`.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field, a name in parentheses, may hold spaces; count after it.
    let ticks = stat.rsplit_once(") ").and_then(|(_, fields)| {
        let mut fields = fields.split(' ').skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    });
    let ticks = ticks.with_context(|| format!("{path} is not as proc(5) describes it"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The most memory that a process had in RAM so far, in KiB; `VmHWM` of proc(5)'s `status`.
///
/// # Errors
///
/// There is no such process, or no `/proc`.
pub fn peak_memory_kib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.with_context(|| format!("{path} is not as proc(5) describes it"))
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Process {
        let mut command = command(Path::new("/bin/sh"), Lifetime::OfThisProcess);
        command.args(["-c", script]);
        Process::spawn("the shell", command, log).unwrap()
    }

    fn wait_for_end(process: &mut Process) {
        while process.exit_status().unwrap().is_none() {
            sleep(POLL_INTERVAL);
        }
    }

    #[test]
    fn a_process_that_ends_early_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(
            "seq 1 100; echo bind: address already in use >&2; exit 3",
            &folder.path().join("log"),
        );
        wait_for_end(&mut process);
        let error = process.check_running().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the shell ended by itself"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("\n100\nbind:"), "{text}");
        assert!(!text.contains("\n50\n"), "only the end: {text}");
        assert!(error.downcast_ref::<EndedEarly>().unwrap().port_was_taken());
    }

    #[test]
    fn a_child_survives_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let started = log.clone();
        let mut process = std::thread::spawn(move || shell("exec tail -f /dev/null", &started))
            .join()
            .unwrap();
        // The signal of the kernel, if it were sent, has arrived once another child came and went.
        wait_for_end(&mut shell("true", &log));
        process.check_running().unwrap();
    }
}

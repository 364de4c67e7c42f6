//! Asking a command.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::{Outcome, PATIENCE, READ, start};

/// Why a command is counted as not ready.
const FAILED: &str = "HealthCheckFailed";
/// For processes that were killed to be gone.
const DEATH: Duration = Duration::from_millis(10);
const DEATHS: usize = 100;

/// A command with all the processes that it started; killed when it is dropped.
struct Group {
    child: Child,
    id: Option<Pid>,
    output: pipe::Receiver,
}

pub(super) async fn ask(command: &[String]) -> Outcome {
    // Its arguments are not told: everybody can read the condition.
    let name = command.first().map_or("", String::as_str);
    let mut group = match Group::spawn(command) {
        Ok(group) => group,
        Err(error) => {
            let message = format!("Command {name} cannot be started: {}", serve::chain(&error));
            return Outcome::failed(FAILED, message);
        }
    };
    let mut said = Vec::new();
    let ended = timeout(PATIENCE, group.end(&mut said)).await;
    let message = match ended {
        Ok(Ok(status)) if status.success() => {
            group.clear().await;
            return Outcome::ready("CommandSucceeded", format!("Command {name} succeeded"));
        }
        Ok(Ok(status)) => {
            group.clear().await;
            let message = with_output(format!("Command {name} failed ({status})"), &said);
            return Outcome::unready(FAILED, message);
        }
        Ok(Err(error)) => format!(
            "Command {name} cannot be waited for: {}",
            serve::chain(&error)
        ),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            with_output(
                format!("Command {name} did not end within {seconds} s"),
                &said,
            )
        }
    };
    group.kill().await;
    Outcome::failed(FAILED, message)
}

/// A message, with what the command printed, if it did.
fn with_output(message: String, said: &[u8]) -> String {
    let printed = start(said);
    if printed.is_empty() {
        return message;
    }
    format!("{message}: {printed}")
}

impl Group {
    fn spawn(command: &[String]) -> io::Result<Self> {
        // As for the first process of a container: whoever loses its parent becomes our child, so that
        // it can be waited for when it was killed. Where that is not possible, somebody else does it.
        let _ = set_child_subreaper(Some(getpid()));
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (output, input) = io::pipe()?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            id: id.and_then(Pid::from_raw),
            child,
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(output))?,
        })
    }

    /// Waits until it ends. It is not waited for that its output ends: whatever it started may have
    /// that too.
    async fn end(&mut self, said: &mut Vec<u8>) -> io::Result<std::process::ExitStatus> {
        let mut part = [0; 4096];
        let mut is_open = true;
        let status = loop {
            tokio::select! {
                // What is more than can be used is read as well, or the command would wait.
                read = self.output.read(&mut part), if is_open => match read {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(read) => keep(said, part.get(..read)),
                },
                status = self.child.wait() => break status?,
            }
        };
        while said.len() < READ
            && let Ok(read @ 1..) = self.output.try_read(&mut part)
        {
            keep(said, part.get(..read));
        }
        Ok(status)
    }

    /// Ends all of it, and takes note of their ends, so that no trace of them stays.
    async fn kill(mut self) {
        let Some(id) = self.id.take() else { return };
        let _ = kill_process_group(id, Signal::KILL);
        let _ = self.child.wait().await;
        bury(id).await;
    }

    /// When the command itself has ended: ends what it left behind. Else each check would leave one process
    /// more, running or as a zombie, until there can be no more.
    async fn clear(mut self) {
        if let Some(id) = self.id.take() {
            bury(id).await;
        }
    }
}

/// Ends what is left of a process group and is our child. The number is asked for before it is used: as long as
/// such a child is there, nobody else can have it.
async fn bury(id: Pid) {
    for _ in 0..DEATHS {
        match waitpgid(id, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let _ = kill_process_group(id, Signal::KILL);
                sleep(DEATH).await;
            }
            // There is nobody any more.
            Err(_) => return,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

fn keep(said: &mut Vec<u8>, part: Option<&[u8]>) {
    let part = part.unwrap_or_default();
    let room = READ.saturating_sub(said.len());
    said.extend_from_slice(part.get(..room).unwrap_or(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_printed_nothing_has_no_colon() {
        let message = || "Command c failed".to_owned();
        assert_eq!(with_output(message(), b""), "Command c failed");
        assert_eq!(with_output(message(), b"\n"), "Command c failed");
        assert_eq!(with_output(message(), b"why\n"), "Command c failed: why");
    }
}

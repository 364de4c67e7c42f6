//! The command line: everything is said by the environment, and the flags of klog, which the Go
//! project's reporter takes, are taken too.

use std::env::VarError;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::api::InCluster;
use crate::configuration::{Environment, VARIABLES};
use crate::{log, run};

/// Flags of klog with a value, and those that are true or false. Written with `-` or `_` alike.
const VALUES: [&str; 6] = [
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "log_file_max_size",
    "stderrthreshold",
    "vmodule",
];
const SWITCHES: [&str; 6] = [
    "add_dir_header",
    "alsologtostderr",
    "legacy_stderr_threshold_behavior",
    "logtostderr",
    "one_output",
    "skip_log_headers",
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Version,
    Run { verbosity: u8, headers: bool },
}

/// Does what the command line and the environment ask for.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = arguments
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let (verbosity, headers) = match parse(arguments) {
        Ok(Command::Help) => return print(&help()),
        Ok(Command::Version) => {
            return print(concat!(
                "node-readiness-reporter ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            ));
        }
        Ok(Command::Run { verbosity, headers }) => (verbosity, headers),
        Err(why) => {
            log::error!("{why}; --help explains all");
            return ExitCode::FAILURE;
        }
    };
    log::set(verbosity, headers);
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
    };
    let mut environment = Environment::new(&variable);
    let configuration = environment.configuration();
    for warning in &environment.warnings {
        log::error!("{warning}");
    }
    let server = configuration.and_then(|configuration| {
        let server = InCluster::find(variable).map_err(|why| vec![why])?;
        Ok((configuration, server))
    });
    match server {
        Ok((configuration, server)) => run::run(configuration, server),
        Err(problems) => {
            for problem in problems {
                log::error!("{problem}");
            }
            ExitCode::FAILURE
        }
    }
}

/// As Go's flags: one dash or two, `--flag=value` or `--flag value`, switches without a value or with
/// one behind `=`.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut verbosity, mut headers) = (0, true);
    while let Some(argument) = arguments.next() {
        let flag = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'));
        let Some(flag) = flag.filter(|flag| !flag.is_empty()) else {
            // After `--`, and from the first word that is no flag, everything is of the program; and
            // it takes nothing.
            break;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let name = name.replace('-', "_");
        let needs_value = || format!("{argument} needs a value");
        match name.as_str() {
            "h" | "help" => return Ok(Command::Help),
            "version" => return Ok(Command::Version),
            "v" => {
                let value = value.or_else(|| arguments.next()).ok_or_else(needs_value)?;
                let number: i32 = value
                    .parse()
                    .map_err(|_| format!("{argument}: {value} is no whole number"))?;
                verbosity = u8::try_from(number.clamp(0, 255)).unwrap_or(u8::MAX);
            }
            "skip_headers" => headers = !switch(value, &argument)?,
            name if SWITCHES.contains(&name) => drop(switch(value, &argument)?),
            name if VALUES.contains(&name) => {
                value.or_else(|| arguments.next()).ok_or_else(needs_value)?;
            }
            _ => return Err(format!("{argument}: there is no such flag")),
        }
    }
    Ok(Command::Run { verbosity, headers })
}

/// A boolean as Go reads it.
fn switch(value: Option<String>, argument: &str) -> Result<bool, String> {
    match value.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(format!("{argument}: it is neither true nor false")),
    }
}

fn help() -> String {
    let mut text = "\
Asks again and again whether something on a node is ready, and says so by a condition of the node.
It runs in a pod on that node, and finds the API server as every pod does.

Environment:
"
    .to_owned();
    for variable in &VARIABLES {
        let default = match variable.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        // A text that is written to memory has room.
        let _ = writeln!(text, "  {:21} {}{default}", variable.name, variable.meaning);
    }
    text.push_str(
        "
Flags:
  -v=N            2: say each write; 4: say each check
  --skip_headers  no severity, time and place in front of each line of the log
  --help, --version
Other flags of klog are taken, and change nothing.

Exit status: 0 when it was told to end; 1 when it could not begin.
",
    );
    text
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn compat_047_flags_are_those_of_klog_in_the_syntax_of_go() {
        let run = |verbosity, headers| Ok(Command::Run { verbosity, headers });
        for (line, expected) in [
            ("", run(0, true)),
            ("-v=2", run(2, true)),
            ("--v 4 -logtostderr", run(4, true)),
            ("-v=-1", run(0, true)),
            ("-v=1000", run(255, true)),
            ("-vmodule=a=1,b=2 --vmodule a=1 -v=1", run(1, true)),
            (
                "--stderrthreshold 2 --log_file=x --log-file-max-size=1",
                run(0, true),
            ),
            ("-alsologtostderr=false --add_dir_header=T", run(0, true)),
            ("--skip_headers --skip-log-headers", run(0, false)),
            ("--skip_headers=false -one_output", run(0, true)),
            ("-v=2 word -v=4 --unknown", run(2, true)),
            ("-v=2 -- --unknown", run(2, true)),
            ("-h", Ok(Command::Help)),
            ("-v=2 --help", Ok(Command::Help)),
            ("--version", Ok(Command::Version)),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
        for (line, expected) in [
            ("-v", "-v needs a value"),
            ("-v=x", "-v=x: x is no whole number"),
            ("--vmodule", "--vmodule needs a value"),
            (
                "--logtostderr=maybe",
                "--logtostderr=maybe: it is neither true nor false",
            ),
            ("--endpoint=x", "--endpoint=x: there is no such flag"),
        ] {
            assert_eq!(read(line), Err(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_help_explains_every_variable_in_lines_that_fit() {
        let help = help();
        for variable in &VARIABLES {
            assert!(help.contains(variable.name), "{}", variable.name);
        }
        for line in help.lines() {
            assert!(line.len() <= 110, "{line}");
        }
    }
}

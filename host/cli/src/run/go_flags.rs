//! The flag syntax of Go's standard library, in front of clap.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// Gives each `-flag` of `host run` its second dash. The value of a flag stays as it is, whatever
/// it looks like, and so do the flags of other subcommands, one letter, and what follows `--`.
pub fn normalize(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let is_run = arguments.get(1).is_some_and(|name| name == "run");
    let Some(run) = command.find_subcommand("run").filter(|_| is_run) else {
        return arguments;
    };
    let mut arguments = arguments.into_iter();
    let mut normal: Vec<OsString> = arguments.by_ref().take(2).collect();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            normal.push(argument);
            break;
        }
        let argument = double(argument);
        let wants_value = wants_value(run, &argument);
        normal.push(argument);
        if wants_value {
            normal.extend(arguments.next());
        }
    }
    normal.extend(arguments);
    normal
}

fn double(argument: OsString) -> OsString {
    let text = argument.to_string_lossy();
    let name = text.strip_prefix('-').unwrap_or_default();
    let is_word = name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic());
    if !is_word {
        return argument;
    }
    let mut double = OsString::from("-");
    double.push(argument);
    double
}

/// Is it a flag whose value is the next argument?
fn wants_value(run: &Command, argument: &OsStr) -> bool {
    let Some(name) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
        return false;
    };
    run.get_arguments()
        .find(|known| known.get_long() == Some(name))
        .is_some_and(|known| known.get_action().takes_values() && !known.is_require_equals_set())
}

/// A boolean as Go reads it.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(line: &str) -> String {
        let command = crate::arguments::command();
        let arguments = line.split(' ').map(OsString::from).collect();
        let normal = normalize(&command, arguments);
        normal.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }

    #[test]
    fn compat_043_one_dash_is_as_good_as_two() {
        for (given, expected) in [
            (
                "host run -leader-elect=false",
                "host run --leader-elect=false",
            ),
            (
                "host run -leader-elect -kubeconfig f",
                "host run --leader-elect --kubeconfig f",
            ),
            (
                "host run --kubeconfig -f -zap-devel",
                "host run --kubeconfig -f --zap-devel",
            ),
            ("host run -kubeconfig=-f", "host run --kubeconfig=-f"),
            ("host run -kube-api-qps -1", "host run --kube-api-qps -1"),
            ("host run -h", "host run -h"),
            ("host run -help", "host run --help"),
            ("host run -- -kubeconfig", "host run -- -kubeconfig"),
            ("host eval -ojson", "host eval -ojson"),
        ] {
            assert_eq!(normal(given), expected);
        }
    }
}

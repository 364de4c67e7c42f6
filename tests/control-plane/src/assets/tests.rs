use std::os::unix::fs::PermissionsExt;

use super::*;

const NOT_CALLED: &str = "nothing may be built here";

/// A Go module folder as far as finding Go needs it.
fn modules(go: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for module in [KUBERNETES, ETCD] {
        let path = folder.path().join(module.folder);
        fs::create_dir(&path).unwrap();
        let text = format!("module m\n\ngo {go}\n\nrequire {} v1.2.3\n", module.path);
        fs::write(path.join("go.mod"), text).unwrap();
        fs::write(path.join("go.sum"), "").unwrap();
    }
    folder
}

/// A `go` that prints a version and can do nothing else.
fn fake_go(version: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("go");
    fs::write(
        &path,
        format!("#!/bin/sh\necho go version {version} linux/amd64\n"),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn error_of(environment: &Environment, modules: &Path) -> String {
    assets_in(environment, modules, &mut |_| panic!("{NOT_CALLED}"))
        .unwrap_err()
        .to_string()
}

#[test]
fn without_go_the_error_names_both_ways_out() {
    let empty = tempfile::tempdir().unwrap();
    let environment = Environment {
        path: empty.path().into(),
        home: Some(empty.path().to_path_buf()),
        ..Environment::default()
    };
    let error = error_of(&environment, modules("1.26.0").path());
    assert!(
        error.contains("no `go` on the PATH to build etcd, kubectl and kube-apiserver from source: install Go 1.26"),
        "{error}"
    );
    assert!(
        error.contains(
            "set KUBEBUILDER_ASSETS to a folder that has etcd, kubectl and kube-apiserver"
        ),
        "{error}"
    );
}

#[test]
fn a_go_that_is_too_old_is_named_with_its_version() {
    let go = fake_go("go1.21.13");
    let environment = Environment {
        path: go.path().into(),
        home: Some(go.path().to_path_buf()),
        ..Environment::default()
    };
    let error = error_of(&environment, modules("1.26.0").path());
    assert!(error.contains("is Go 1.21.13: install Go 1.26"), "{error}");
    assert!(error.contains("KUBEBUILDER_ASSETS"), "{error}");
}

#[test]
fn kubebuilder_assets_must_hold_every_program() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["etcd", "kubectl"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let environment = Environment {
        kubebuilder_assets: Some(folder.path().to_path_buf()),
        ..Environment::default()
    };
    let nowhere = Path::new("/nonexistent");
    let error = error_of(&environment, nowhere);
    assert!(
        error.contains("there is no file `kube-apiserver` in it"),
        "{error}"
    );
    assert!(
        error.contains(&folder.path().display().to_string()),
        "{error}"
    );

    fs::write(folder.path().join("kube-apiserver"), "").unwrap();
    let found = assets_in(&environment, nowhere, &mut |_| panic!("{NOT_CALLED}")).unwrap();
    assert_eq!(found.kube_apiserver(), folder.path().join("kube-apiserver"));
}

/// What an API server of somebody else's may need in another version is not built beside it.
#[test]
fn kubebuilder_assets_come_with_their_own_scheduler_and_may_come_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment {
        kubebuilder_assets: Some(folder.path().to_path_buf()),
        home: Some(folder.path().to_path_buf()),
        ..Environment::default()
    };
    let modules = modules("1.26.0");
    let find = |program| {
        tool_in(&environment, modules.path(), program, &mut |_| {
            panic!("{NOT_CALLED}")
        })
    };
    let error = find(&SCHEDULER).unwrap_err().to_string();
    assert!(
        error.contains(
            "no file `kube-scheduler` in it: put the one of the same Kubernetes version there"
        ),
        "{error}"
    );
    let error = find(&KWOK).unwrap_err().to_string();
    assert!(
        error.contains("no `go` on the PATH to build kwok from source"),
        "{error}"
    );
    assert!(
        error.contains("set KUBEBUILDER_ASSETS to a folder that has kwok"),
        "{error}"
    );

    for program in [
        &SCHEDULER,
        &CONTROLLER_MANAGER,
        &KWOK,
        &NODE_PROBLEM_DETECTOR,
        &HELM,
    ] {
        let ready = folder.path().join(program.name);
        fs::write(&ready, "").unwrap();
        assert_eq!(find(program).unwrap(), ready);
    }
}

#[test]
fn a_failed_build_shows_its_output_and_leaves_no_program() {
    // This `go` says its version and then fails whatever it is asked for.
    let go = fake_go("go1.26.0");
    let script = "#!/bin/sh\n[ \"$1\" = version ] && echo go version go1.26.0 linux/amd64 && exit\n\
                  echo dial tcp: no route to host >&2\nexit 1\n";
    fs::write(go.path().join("go"), script).unwrap();
    let home = tempfile::tempdir().unwrap();
    let environment = Environment {
        path: go.path().into(),
        home: Some(home.path().to_path_buf()),
        ..Environment::default()
    };
    let mut lines = Vec::new();
    let modules = modules("1.26.0");
    let error = assets_in(&environment, modules.path(), &mut |line| {
        lines.push(line.to_owned())
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("building etcd v1.2.3 failed (exit status: 1)"),
        "{error}"
    );
    assert!(error.contains("dial tcp: no route to host"), "{error}");
    assert!(
        lines.iter().all(|line| line.starts_with("building etcd")),
        "{lines:?}"
    );
    // The next call tries again, and does not take a half-made folder for the programs.
    assert!(assets_in(&environment, modules.path(), &mut |_| ()).is_err());
}

#[test]
fn the_cache_is_where_the_user_wants_it() {
    let cache = |xdg: Option<&str>, home: Option<&str>| {
        Environment {
            xdg_cache_home: xdg.map(PathBuf::from),
            home: home.map(PathBuf::from),
            ..Environment::default()
        }
        .cache_folder()
    };
    let name = "node-readiness-host";
    assert_eq!(
        cache(Some("/c"), Some("/h")).unwrap(),
        Path::new("/c").join(name)
    );
    assert_eq!(
        cache(None, Some("/h")).unwrap(),
        Path::new("/h/.cache").join(name)
    );
    assert_eq!(
        cache(Some("relative"), Some("/h")).unwrap(),
        Path::new("/h/.cache").join(name)
    );
    assert!(
        cache(None, None)
            .unwrap_err()
            .to_string()
            .contains("set HOME")
    );
}

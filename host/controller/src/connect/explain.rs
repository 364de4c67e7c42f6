//! What the client's errors mean for somebody who does not know the client.

use std::error::Error;

use kube::client::{AuthError, RustlsTlsError};
use kube::core::Status;
use kube::runtime::watcher;

use super::Way;
use super::kubeconfig::{reading, unusable};
use crate::client::RequestError;

/// A request, or the making of the client for it, came to nothing: where, what, what to do.
pub(super) fn client_error(error: &kube::Error, way: &Way) -> String {
    let Way {
        place,
        server,
        who,
        plugin,
    } = way;
    let api_server = format!("the API server at {server}");
    let what = match error {
        kube::Error::Api(status) if status.code == 401 => format!(
            "{api_server} does not accept {who} (401 {}): log in again, or choose another context or kubeconfig",
            status.message
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "{api_server} refuses: {} (403): ask for that right, or choose another context or kubeconfig",
            status.message
        ),
        kube::Error::Api(status) => {
            let advice = if status.code >= 500 {
                "try again later, or look into its log"
            } else {
                "is the address right?"
            };
            let (message, code) = (&status.message, status.code);
            format!(
                "{api_server} answers: {} ({code}): {advice}",
                message.trim_end()
            )
        }
        kube::Error::Auth(error) => credentials(error, who, plugin.as_deref()),
        kube::Error::InferKubeconfig(error) => format!("{}: correct it", unusable(error, who)),
        kube::Error::RustlsTls(error) => certificates(error, who),
        kube::Error::ProxyProtocolDisabled { proxy_url, .. }
        | kube::Error::ProxyProtocolUnsupported { proxy_url } => format!(
            "there is a proxy on the way, {}, and this version uses none: \
             take proxy-url out of the kubeconfig, or unset HTTPS_PROXY, and reach {server} directly",
            // Without its password.
            proxy_url.host().unwrap_or_default()
        ),
        kube::Error::Service(error) => match error.downcast_ref::<AuthError>() {
            Some(error) => credentials(error, who, plugin.as_deref()),
            None => connection(&chain(error.as_ref()), &api_server),
        },
        kube::Error::SerdeError(_) => format!(
            "{api_server} does not answer as a Kubernetes API server does: correct the address"
        ),
        other => connection(&chain(other), &api_server),
    };
    format!("{place}: {what}")
}

/// No answer came in time.
pub(super) fn no_answer(timeout: &RequestError, way: &Way) -> String {
    format!(
        "{}: the API server at {} cannot be reached: {timeout}: is it running, and is the address right?",
        way.place, way.server
    )
}

fn connection(text: &str, api_server: &str) -> String {
    let text = text
        .trim_start_matches("client error (Connect): ")
        .trim_start_matches("tcp connect error: ");
    if text.contains("UnknownIssuer") {
        return format!(
            "{api_server} shows a certificate of an unknown certificate authority: \
             correct certificate-authority of the cluster, or the address"
        );
    }
    if text.contains("InvalidContentType") {
        return format!("{api_server} does not speak TLS: does its address begin with http://?");
    }
    if text.contains("invalid peer certificate") {
        return format!(
            "{api_server} shows a certificate that cannot be trusted: {text}: \
             correct the address or tls-server-name, or renew the certificate"
        );
    }
    format!("{api_server} cannot be reached: {text}: is it running, and is the address right?")
}

fn certificates(error: &RustlsTlsError, who: &str) -> String {
    match error {
        RustlsTlsError::AddRootCertificate(_) => {
            "the certificate authority of the cluster holds something that is no certificate: \
             correct certificate-authority or certificate-authority-data"
                .to_owned()
        }
        error => format!(
            "the client certificate of {who} cannot be used: {error}: \
             correct client-certificate and client-key"
        ),
    }
}

fn credentials(error: &AuthError, who: &str, plugin: Option<&str>) -> String {
    let plugin = plugin.unwrap_or("that it names");
    let of = format!("the credentials of {who} cannot be had");
    match error {
        AuthError::AuthExecStart(error) => format!(
            "{of}: the program {plugin} cannot be started: {error}: install it, or correct `exec`"
        ),
        AuthError::ExecPluginFailed | AuthError::AuthExecParse(_) => format!(
            "{of}: the program {plugin} does not print an ExecCredential with a status: correct `exec`"
        ),
        AuthError::MissingCommand => format!("{of}: `exec` has no command: correct it"),
        AuthError::AuthExecRun { .. } => {
            format!("{of}: {}: run it by hand to see why", plain(error, plugin))
        }
        AuthError::ReadTokenFile(error, path) => format!(
            "{of}: the token file {}: {}: correct tokenFile",
            path.display(),
            reading(error)
        ),
        error => format!("{of}: {}: correct the kubeconfig", plain(error, plugin)),
    }
}

/// Without the program's environment and output, which hold secrets, and without its standard
/// error in quotes.
fn plain(error: &AuthError, plugin: &str) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said: Vec<_> = said.split_whitespace().collect();
            let said = match said.join(" ") {
                said if said.is_empty() => said,
                said => format!(": {}", said.escape_debug()),
            };
            format!("the program {plugin} failed ({}){said}", out.status)
        }
        AuthError::InvalidBearerToken(_) => {
            "the token has a line break or another control character in it".to_owned()
        }
        AuthError::AuthExec(what) => what.clone(),
        error => error.to_string(),
    }
}

/// What the API server answered to a watch that failed, or sent in the place of an event.
pub(crate) fn answer_of(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// An error with its causes, each once: many errors of the client already tell their source.
///
/// What the client shows of an API error is a dump, and of a failed credential program its
/// environment: both are said in other words.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = Some(error);
    while let Some(cause) = next {
        let raw = cause.to_string();
        let words = if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            Some(format!("{} ({})", status.message, status.code))
        } else {
            cause
                .downcast_ref::<AuthError>()
                .map(|error| plain(error, "for the credentials"))
        };
        if !text.contains(&raw) {
            text = format!("{text}: {raw}");
        }
        if let Some(words) = words {
            text = text.replace(&raw, &words);
            break;
        }
        next = cause.source();
    }
    text.replace("ServiceError: ", "")
}

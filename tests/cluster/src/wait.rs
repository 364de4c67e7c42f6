//! Waiting for something to become true, and never for a time to pass.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Longer than anything takes on a busy machine: who waits this long has found a defect.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until there is an answer. The error says what was waited for, and what was seen last.
///
/// # Errors
/// Asking failed, or there was no answer within a minute.
pub async fn until<T, F>(what: &str, ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Result<T, String>>>,
{
    until_within(DEADLINE, what, ask).await
}

/// As [`until`], for what takes longer because it is much.
///
/// # Errors
/// As [`until`].
pub async fn until_within<T, F>(
    deadline: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Result<T, String>>>,
{
    let end = Instant::now() + deadline;
    loop {
        match ask().await? {
            Ok(answer) => return Ok(answer),
            Err(seen) if Instant::now() >= end => bail!("waited for: {what}; seen last: {seen}"),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Asks until it is so.
///
/// # Errors
/// As [`until`].
pub async fn until_true<F>(what: &str, mut ask: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    until(what, || {
        let asked = ask();
        async move {
            Ok(if asked.await? {
                Ok(())
            } else {
                Err("not so".to_owned())
            })
        }
    })
    .await
}

use serde_json::json;

use super::*;

const FIRST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SECOND: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn object(generation: i64, annotation: Option<&str>, told: (i64, Option<&str>)) -> ReadinessPolicy {
    let policy = json!({
        "metadata": {
            "name": "steady", "uid": "u-1", "generation": generation,
            "annotations": annotation.map(|value| json!({ FETCH_AGAIN: value }))},
        "spec": {"module": {"builtin": {"name": "default"}}},
        "status": {"observedGeneration": told.0, "digest": told.1}});
    serde_json::from_value(policy).unwrap()
}

fn trouble(passes: bool) -> Trouble {
    Trouble {
        passes,
        ..Trouble::lasting(Step::Compatible, "CompilerFailed", "as told")
    }
}

async fn takes(known: &mut Known, object: &ReadinessPolicy, digest: Option<&str>) {
    known.asked = Asked::of(object);
    let attempt = Attempt {
        digest: digest.map(str::to_owned),
        signer: None,
        policy: Err(trouble(true)),
    };
    let facts = related::Known::new(Default::default());
    known.take(attempt, Vec::new(), &facts).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_looked_up_once_for_a_spec_and_again_when_asked_for() {
    let pin = |known: &Known, object: &ReadinessPolicy| {
        let pin = known.pin(object, &Asked::of(object));
        pin.map(|pin| pin.to_string())
    };
    // What the host before found counts, where it is of this spec.
    let stored = object(2, None, (2, Some(FIRST)));
    let mut known = Known::new("u-1".to_owned(), &stored);
    assert_eq!(pin(&known, &stored).as_deref(), Some(FIRST));
    assert_eq!(pin(&known, &object(2, None, (1, Some(FIRST)))), None);
    assert_eq!(pin(&known, &object(2, None, (2, None))), None);
    // What was found here counts before an older status.
    assert!(known.is_untried());
    takes(&mut known, &stored, Some(SECOND)).await;
    assert!(!known.is_untried());
    assert_eq!(pin(&known, &stored).as_deref(), Some(SECOND));
    takes(&mut known, &stored, None).await;
    assert_eq!(pin(&known, &stored), None, "nothing was found");
    // Another spec, and somebody who asks.
    takes(&mut known, &stored, Some(SECOND)).await;
    assert_eq!(pin(&known, &object(3, None, (2, Some(FIRST)))), None);
    assert_eq!(pin(&known, &object(2, Some("now"), (2, Some(FIRST)))), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_news_where_something_else_was_asked_for() {
    let is_news =
        |known: &Known, object: &ReadinessPolicy| known.is_news(object, &Asked::of(object));
    // A start brings what it brought before.
    let stored = object(2, Some("then"), (2, Some(FIRST)));
    let mut known = Known::new("u-1".to_owned(), &stored);
    assert!(!is_news(&known, &stored));
    assert!(is_news(&known, &object(3, None, (2, Some(FIRST)))));
    let new = ReadinessPolicy {
        status: None,
        ..object(1, None, (1, None))
    };
    assert!(is_news(&Known::new("u-2".to_owned(), &new), &new));
    takes(&mut known, &stored, Some(FIRST)).await;
    assert!(!is_news(&known, &stored));
    assert!(is_news(&known, &object(2, Some("now"), (2, Some(FIRST)))));
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_less_and_less_often_and_nothing_else_is() {
    let stored = object(1, None, (1, None));
    let mut known = Known::new("u-1".to_owned(), &stored);
    let mut waits = Vec::new();
    for _ in 0..10 {
        known.fail(trouble(true));
        let wait = known.again.unwrap() - Instant::now();
        waits.push(wait.as_secs());
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    known.fail(trouble(false));
    assert_eq!(known.again, None);
}

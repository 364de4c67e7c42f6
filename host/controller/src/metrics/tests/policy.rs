//! The series of policies.

use super::*;

#[tokio::test]
async fn a_run_that_was_made_before_counts_and_takes_no_time() {
    let mut idle = Idle::new();
    idle.apply(rule("all", "uid-2", "continuous"));
    for name in ["one", "two", "three"] {
        idle.work(&node(name, 5, Status::True, 60, &[]), None);
    }
    let page = idle.page();
    for (series, value) in [
        (
            r#"node_readiness_policy_evaluations_total{policy="default",result="decided"}"#,
            1.0,
        ),
        (
            r#"node_readiness_policy_evaluations_total{policy="default",result="recalled"}"#,
            2.0,
        ),
        (
            r#"node_readiness_policy_evaluation_seconds_count{policy="default"}"#,
            1.0,
        ),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
}

#[tokio::test]
async fn the_series_of_a_policy_go_with_its_object() {
    let idle = eventful().await;
    let of_policy = r#"policy="steady""#;
    assert!(!idle.page().with(of_policy).is_empty());
    idle.shared.metrics.forget_policy("steady");
    // Somebody may still be at it.
    idle.shared.metrics.set_policy("steady", true, false);
    assert_eq!(idle.page().with(of_policy), Vec::<&String>::new());
}

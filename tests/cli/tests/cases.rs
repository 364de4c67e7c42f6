//! Every case of the default policy, through `host eval`.

use std::collections::BTreeSet;

use cli_tests::cases::{Eval, compare, load_all, play};

#[test]
fn every_line_of_section_b_has_a_case() {
    let lines: BTreeSet<u32> = load_all()
        .unwrap()
        .iter()
        .filter_map(|case| case.line)
        .collect();
    assert_eq!(lines, (12..=22).collect());
}

#[test]
fn every_case_passes_through_eval() {
    let mut failures = Vec::new();
    for case in load_all().unwrap() {
        let played = Eval::new().and_then(|mut eval| play(&case, &mut eval));
        if let Err(error) = played {
            failures.push(format!("{error:#}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_expected_of_a_case_is_not_true_of_nothing() {
    for case in load_all().unwrap() {
        for step in &case.steps {
            let differences = compare(&step.expect, &Default::default(), &Default::default());
            assert!(!differences.is_empty(), "{}", case.name);
        }
    }
}

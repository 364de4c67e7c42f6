use super::*;

mod simulation;

const TIMING: Timing = Timing {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};
const WALL: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn candidate(identity: &str, now: Instant) -> Candidate {
    Candidate::new("lease", identity.to_owned(), TIMING, now)
}

/// A record as another one writes it; its wall clock says `renewed` seconds.
fn held_by(holder: &str, renewed: i64) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some("lease".to_owned()),
            resource_version: Some(renewed.to_string()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(WALL)),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            lease_transitions: Some(7),
            ..LeaseSpec::default()
        }),
    }
}

fn written(step: Step) -> (Lease, LeaseSpec) {
    match step {
        Step::Create(lease) | Step::Replace(lease) => {
            let spec = lease.spec.clone().unwrap();
            (*lease, spec)
        }
        other => panic!("{other:?} is no write"),
    }
}

#[test]
fn compat_044_the_record_is_that_of_client_go() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    assert_eq!(candidate.next(start, WALL), Step::Read);
    candidate.read(None, start, start);
    let Step::Create(lease) = candidate.next(start, WALL) else {
        panic!("there is no lease");
    };
    let spec = lease.spec.clone().unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("host_1"));
    assert_eq!(spec.lease_duration_seconds, Some(15));
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(spec.acquire_time, spec.renew_time);
    assert_eq!(candidate.leads_until(), None, "it is not stored yet");
    candidate.wrote(*lease, start, start);
    assert_eq!(candidate.leads_until(), Some(start + seconds(10)));
    assert_eq!(candidate.next(start, WALL), Step::Wait(start + seconds(2)));

    let later = WALL + seconds(2);
    let (_, spec) = written(candidate.next(start + seconds(2), later));
    assert_eq!(spec.acquire_time, Some(MicroTime(WALL)));
    assert_eq!(spec.renew_time, Some(MicroTime(later)));
    assert_eq!(spec.lease_transitions, Some(0));

    let released = candidate.release(later).unwrap().spec.unwrap();
    assert_eq!(released.holder_identity.as_deref(), Some(""));
    assert_eq!(released.lease_duration_seconds, Some(1));
    assert_eq!(released.lease_transitions, Some(0));
}

#[test]
fn compat_044_a_lease_is_over_when_no_change_was_seen_whatever_its_writers_clock_says() {
    for offset in [-1_000_000, -10, 0, 10, 1_000_000] {
        let start = Instant::now();
        let mut candidate = candidate("host_1", start);
        let mut now = start;
        for renewal in 0..20 {
            candidate.hint(now);
            assert_eq!(candidate.next(now, WALL), Step::Read, "{offset}");
            let lease = held_by("manager_2", offset + 2 * renewal);
            assert!(candidate.read(Some(lease), now, now));
            now += seconds(2);
        }
        let seen = now - seconds(2);
        // Read again and again, and nothing new.
        loop {
            match candidate.next(now, WALL) {
                Step::Wait(until) => now = until,
                Step::Read => {
                    let lease = held_by("manager_2", offset + 2 * 19);
                    candidate.read(Some(lease), now, now);
                }
                step => {
                    let (lease, spec) = written(step);
                    assert_eq!(now, seen + seconds(15), "{offset}");
                    let version = (offset + 2 * 19).to_string();
                    assert_eq!(lease.metadata.resource_version, Some(version));
                    assert_eq!(spec.lease_transitions, Some(8));
                    assert_eq!(spec.acquire_time, Some(MicroTime(WALL)));
                    break;
                }
            }
        }
    }
}

#[test]
fn a_new_label_is_no_sign_of_life() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    candidate.read(Some(held_by("manager_2", 1)), start, start);
    let mut labelled = held_by("manager_2", 1);
    labelled.metadata.resource_version = Some("9".to_owned());
    let later = start + seconds(14);
    candidate.read(Some(labelled), later, later);
    let (lease, _) = written(candidate.next(start + seconds(15), WALL));
    assert_eq!(lease.metadata.resource_version.as_deref(), Some("9"));
}

#[test]
fn a_change_counts_from_when_its_news_was_here() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    // The renewal may have been sent after the question.
    candidate.read(Some(held_by("manager_2", 1)), start, start + seconds(4));
    assert_eq!(candidate.next(start + seconds(15), WALL), Step::Read);
    written(candidate.next(start + seconds(19), WALL));
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    candidate.read(None, start, start);
    let (lease, _) = written(candidate.next(start, WALL));
    candidate.wrote(lease, start, start + seconds(4));
    assert_eq!(candidate.leads_until(), Some(start + seconds(10)));
    // Late already: the next one is sent at once.
    written(candidate.next(start + seconds(4), WALL));
}

#[test]
fn without_a_renewal_it_leads_no_longer_than_the_deadline_and_tries_again() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    candidate.read(None, start, start);
    let (lease, _) = written(candidate.next(start, WALL));
    candidate.wrote(lease.clone(), start, start);
    let first = candidate.term();
    let mut now = start;
    while now < start + seconds(30) {
        match candidate.next(now, WALL) {
            Step::Wait(until) => now = until,
            _ => candidate.failed(now),
        }
        let leads = candidate.leads_until().is_some_and(|until| now < until);
        assert_eq!(leads, now < start + seconds(10));
    }
    // Nobody took it: it is still ours.
    assert_eq!(candidate.next(now, WALL), Step::Read);
    candidate.read(Some(lease), now, now);
    let (lease, spec) = written(candidate.next(now, WALL));
    assert_eq!(spec.lease_transitions, Some(0));
    candidate.wrote(lease, now, now);
    assert!(candidate.leads_until().is_some());
    assert_ne!(candidate.term(), first);
}

#[test]
fn one_who_sees_another_holder_leads_no_more() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    candidate.read(None, start, start);
    let (lease, _) = written(candidate.next(start, WALL));
    candidate.wrote(lease, start, start);
    let now = start + seconds(2);
    written(candidate.next(now, WALL));
    candidate.conflict(now, now);
    assert!(candidate.leads_until().is_some(), "it may be a label");
    assert_eq!(candidate.next(now, WALL), Step::Read);
    assert!(candidate.read(Some(held_by("manager_2", 1)), now, now));
    assert_eq!(candidate.leads_until(), None);
    assert_eq!(candidate.release(WALL), None, "it is not ours");
}

#[test]
fn compat_044_a_released_lease_is_free_at_once() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    candidate.read(Some(held_by("", 1)), start, start);
    let (_, spec) = written(candidate.next(start, WALL));
    assert_eq!(spec.lease_transitions, Some(8));
    assert_eq!(spec.lease_duration_seconds, Some(15));
}

#[test]
fn one_who_is_always_late_does_not_spin() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    let (mut now, mut requests) = (start, 0);
    while now < start + seconds(20) {
        match candidate.next(now, WALL) {
            Step::Wait(until) => now = until,
            Step::Read => {
                requests += 1;
                candidate.read(Some(held_by("", requests)), now, now);
            }
            _ => {
                requests += 1;
                candidate.conflict(now, now);
            }
        }
    }
    assert!(requests < 30, "{requests}");
}

#[test]
fn a_lease_that_changes_all_the_time_is_not_read_all_the_time() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    let mut reads = 0;
    for millisecond in 0..2000 {
        let now = start + Duration::from_millis(millisecond);
        candidate.hint(now);
        if candidate.next(now, WALL) == Step::Read {
            reads += 1;
            candidate.read(Some(held_by("manager_2", reads)), now, now);
        }
    }
    assert_eq!(reads, 10);
}

#[test]
fn a_wall_clock_that_stands_still_does_not_make_renewals_alike() {
    let start = Instant::now();
    let mut candidate = candidate("host_1", start);
    candidate.read(None, start, start);
    let (first, _) = written(candidate.next(start, WALL));
    candidate.wrote(first.clone(), start, start);
    let now = start + seconds(2);
    let (second, _) = written(candidate.next(now, WALL));
    assert_ne!(first.spec, second.spec);
}

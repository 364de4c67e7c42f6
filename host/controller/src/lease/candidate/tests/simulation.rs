//! Some candidates, a server, and a network that delays, loses and cuts off: nobody takes the lease
//! while something that its holder wrote may still arrive.

use proptest::prelude::*;

use super::*;

/// A request on its way: when it arrives, when the answer does, and never if it is lost.
#[derive(Debug)]
struct Travel {
    step: Step,
    sent: Instant,
    arrives: Option<Instant>,
    answered: Option<Instant>,
    answer: Option<Result<Option<Lease>, Conflict>>,
}

#[derive(Debug, Clone)]
struct Conflict;

struct Host {
    candidate: Candidate,
    wall: Timestamp,
    travel: Option<Travel>,
    given_up: Vec<Travel>,
    cut_off: bool,
    paused: bool,
}

#[derive(Debug, Clone)]
enum Event {
    /// How long its requests and their answers take, in milliseconds.
    Delay(usize, u64, u64),
    Cut(usize),
    Heal(usize),
    /// The process stands still.
    Pause(usize),
    Resume(usize),
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        (0_usize..3, 0_u64..9000, 0_u64..4000)
            .prop_map(|(host, there, back)| Event::Delay(host, there, back)),
        (0_usize..3).prop_map(Event::Cut),
        (0_usize..3).prop_map(Event::Heal),
        (0_usize..3).prop_map(Event::Pause),
        (0_usize..3).prop_map(Event::Resume),
    ];
    prop::collection::vec((0_u64..120_000, event), 0..40)
}

proptest! {
    #[test]
    fn compat_044_nobody_takes_the_lease_while_a_write_of_its_holder_may_arrive(
        mut events in events(),
        clocks in prop::array::uniform3(-100_000_i64..100_000),
    ) {
        events.sort_by_key(|(at, _)| *at);
        let mut events = events.into_iter().peekable();
        let start = Instant::now();
        let mut hosts: Vec<Host> = clocks
            .iter()
            .enumerate()
            .map(|(number, clock)| Host {
                candidate: candidate(&format!("host_{number}"), start),
                wall: Timestamp::from_second(1_000_000 + clock).unwrap(),
                travel: None,
                given_up: Vec::new(),
                cut_off: false,
                paused: false,
            })
            .collect();
        let mut stored: Option<Lease> = None;
        let mut version = 0_u64;
        let mut delays = [(5, 5); 3];
        // When the last stored renewal of each was sent.
        let mut renewed: [Option<Instant>; 3] = [None; 3];
        for millisecond in (0..150_000).step_by(10) {
            let now = start + Duration::from_millis(millisecond);
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= millisecond) {
                match event {
                    Event::Delay(host, there, back) => delays[host] = (there, back),
                    Event::Cut(host) => hosts[host].cut_off = true,
                    Event::Heal(host) => hosts[host].cut_off = false,
                    Event::Pause(host) => hosts[host].paused = true,
                    Event::Resume(host) => hosts[host].paused = false,
                }
            }
            for number in 0..hosts.len() {
                let (host, delay) = (&mut hosts[number], delays[number]);
                let wall = host.wall + Duration::from_millis(millisecond);
                // What its sender gave up may arrive all the same, later.
                for travel in host.travel.iter_mut().chain(&mut host.given_up) {
                    let arrived = travel.arrives.is_some_and(|at| at <= now);
                    if travel.answer.is_some() || !arrived {
                        continue;
                    }
                    let (answer, before) = serve(&mut stored, &mut version, &travel.step);
                    travel.answer = Some(answer);
                    let Some(before) = before else { continue };
                    let other = usize::from(before.as_bytes()[5] - b'0');
                    if other != number
                        && let Some(sent) = renewed[other]
                    {
                        prop_assert!(
                            now >= sent + TIMING.duration,
                            "taken from {other} {:?} after its renewal was sent",
                            now - sent
                        );
                    }
                    renewed[number] = Some(travel.sent);
                }
                if host.paused {
                    continue;
                }
                // A hint may come at any moment.
                if millisecond % 7000 == 0 {
                    host.candidate.hint(now);
                }
                match &mut host.travel {
                    None => match host.candidate.next(now, wall) {
                        Step::Wait(_) => {}
                        step => {
                            let lost = host.cut_off;
                            let arrives = now + Duration::from_millis(delay.0);
                            host.travel = Some(Travel {
                                step,
                                sent: now,
                                arrives: (!lost).then_some(arrives),
                                answered: (!lost).then(|| arrives + Duration::from_millis(delay.1)),
                                answer: None,
                            });
                        }
                    },
                    Some(travel) if now >= travel.sent + seconds(5) => {
                        host.candidate.failed(travel.sent);
                        host.given_up.extend(host.travel.take());
                    }
                    Some(travel) if travel.answered.is_some_and(|at| at <= now) && !host.cut_off => {
                        match travel.answer.take() {
                            Some(Ok(lease)) if travel.step == Step::Read => {
                                host.candidate.read(lease, travel.sent, now);
                            }
                            Some(Ok(lease)) => {
                                host.candidate.wrote(lease.unwrap(), travel.sent, now);
                            }
                            Some(Err(Conflict)) => host.candidate.conflict(travel.sent, now),
                            None => host.candidate.failed(travel.sent),
                        }
                        host.travel = None;
                    }
                    Some(_) => {}
                }
            }
            let leads = |host: &&Host| host.candidate.leads_until().is_some_and(|until| now < until);
            prop_assert!(hosts.iter().filter(leads).count() <= 1, "two lead");
        }
    }
}

/// What the server makes of a request; for a write that it stores, who held the lease before.
fn serve(
    stored: &mut Option<Lease>,
    version: &mut u64,
    step: &Step,
) -> (Result<Option<Lease>, Conflict>, Option<String>) {
    let holder = |lease: &Lease| lease.spec.clone().unwrap().holder_identity.unwrap();
    let before = stored.as_ref().map(holder);
    let lease = match step {
        Step::Create(lease) if stored.is_none() => lease,
        Step::Replace(lease)
            if stored.as_ref().is_some_and(|stored| {
                stored.metadata.resource_version == lease.metadata.resource_version
            }) =>
        {
            lease
        }
        Step::Create(_) | Step::Replace(_) => return (Err(Conflict), None),
        _ => return (Ok(stored.clone()), None),
    };
    *version += 1;
    let mut new = Lease::clone(lease);
    new.metadata.resource_version = Some(version.to_string());
    let before = before.or_else(|| Some(holder(&new)));
    *stored = Some(new.clone());
    (Ok(Some(new)), before)
}

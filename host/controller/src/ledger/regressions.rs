//! The nodes of a rule that lost their readiness within a while: what the alarm counts.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::ledger::Alarm;

/// Each node once, by name, with the last time that it was held again. As large as the rule has nodes,
/// however often one of them flaps.
#[derive(Debug, Default)]
pub(super) struct Regressions {
    last: HashMap<String, Instant>,
    by_time: BTreeSet<(Instant, String)>,
}

impl Regressions {
    /// A node is held again. `all` is how many the rule has. Says how many were within the alarm's
    /// window, where that is a reason for it; then it counts anew, or the first node after a release by
    /// hand would raise it again.
    pub(super) fn add(
        &mut self,
        node: &str,
        all: usize,
        alarm: &Alarm,
        now: Instant,
    ) -> Option<usize> {
        self.forget(node);
        self.last.insert(node.to_owned(), now);
        self.by_time.insert((now, node.to_owned()));
        let old = |(at, _): &&(Instant, String)| now.duration_since(*at) > alarm.window;
        while let Some((_, node)) = self.by_time.first().filter(old).cloned() {
            self.forget(&node);
        }
        let count = self.last.len();
        let share = usize::from(alarm.percent) * all;
        let is_alarm = count >= Alarm::LEAST && count * 100 > share;
        if is_alarm {
            *self = Self::default();
        }
        is_alarm.then_some(count)
    }

    /// The rule does not select the node any more, or it is gone.
    pub(super) fn forget(&mut self, node: &str) {
        if let Some(at) = self.last.remove(node) {
            self.by_time.remove(&(at, node.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn alarm(percent: u8) -> Alarm {
        Alarm {
            percent,
            window: 5 * MINUTE,
        }
    }

    /// The answers to nodes that are held again, each a time after the first.
    fn answers(
        alarm: &Alarm,
        all: usize,
        held: impl IntoIterator<Item = (String, Duration)>,
    ) -> Vec<usize> {
        let (mut regressions, start) = (Regressions::default(), Instant::now());
        held.into_iter()
            .filter_map(|(node, after)| regressions.add(&node, all, alarm, start + after))
            .collect()
    }

    fn node(number: usize) -> String {
        format!("node-{number}")
    }

    #[test]
    fn one_node_that_flaps_a_hundred_times_is_one_node() {
        let flaps = (0..100).map(|second| (node(1), Duration::from_secs(second)));
        assert!(answers(&alarm(50), 3, flaps).is_empty());
        // Nor do nine of them together make ten.
        let flaps = (0..900).map(|time| (node(time % 9), Duration::from_millis(time as u64)));
        assert!(answers(&alarm(1), 9, flaps).is_empty());
    }

    #[test]
    fn ten_nodes_are_an_alarm_where_they_are_more_than_the_share() {
        let held = |count| (0..count).map(|number| (node(number), Duration::ZERO));
        assert_eq!(answers(&alarm(50), 19, held(19)), [10]);
        assert_eq!(answers(&alarm(50), 20, held(10)), [0; 0]);
        assert_eq!(answers(&alarm(50), 20, held(11)), [11]);
        assert_eq!(answers(&alarm(1), 9, held(9)), [0; 0]);
        assert_eq!(answers(&alarm(99), 100, held(99)), [0; 0]);
        assert_eq!(answers(&alarm(99), 100, held(100)), [100]);
    }

    /// The same nodes, too slowly: never ten within five minutes.
    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let one_a_minute = (0..60).map(|minute| (node(minute), MINUTE * minute as u32));
        assert!(answers(&alarm(1), 60, one_a_minute).is_empty());
        let window = 5 * MINUTE;
        let nine = || (0..9).map(|number| (node(number), Duration::ZERO));
        let tenth = |after| nine().chain([(node(10), after)]);
        assert_eq!(answers(&alarm(50), 12, tenth(window)), [10]);
        let late = window + Duration::from_millis(1);
        assert_eq!(answers(&alarm(50), 12, tenth(late)), [0; 0]);
    }

    /// The last time counts, not the first.
    #[test]
    fn a_node_that_is_held_once_more_is_young_again() {
        let start = (0..9).map(|number| (node(number), Duration::ZERO));
        let again = (0..9).map(|number| (node(number), 4 * MINUTE));
        let held = start.chain(again).chain([(node(10), 8 * MINUTE)]);
        assert_eq!(answers(&alarm(50), 12, held), [10]);
    }

    #[test]
    fn after_an_alarm_it_counts_anew() {
        let held = (0..20).map(|number| (node(number), Duration::ZERO));
        assert_eq!(answers(&alarm(1), 20, held), [10, 10]);
        let held = (0..14).map(|number| (node(number), Duration::ZERO));
        assert_eq!(answers(&alarm(50), 14, held), [10]);
    }

    #[test]
    fn a_node_that_is_gone_does_not_count() {
        let (mut regressions, now) = (Regressions::default(), Instant::now());
        for number in 0..9 {
            assert_eq!(regressions.add(&node(number), 12, &alarm(50), now), None);
        }
        regressions.forget(&node(0));
        assert_eq!(regressions.add(&node(10), 11, &alarm(50), now), None);
        assert_eq!(
            regressions.add(&node(11), 11, &alarm(50), now),
            Some(10),
            "nine and one are ten"
        );
    }
}

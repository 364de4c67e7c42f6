//! Which questions about other objects were read to decide about each node.

use std::collections::HashMap;
use std::sync::Arc;

use planner::Timestamp;
use planner::question::{Question, Read};
use planner::related::{Kind, Related};

/// By the name of the node; nodes about which nothing was asked are not there.
#[derive(Debug, Default)]
pub(super) struct Reads {
    by_node: HashMap<String, Arc<[Question]>>,
    /// Most nodes are asked the same.
    last: Arc<[Question]>,
}

impl Reads {
    /// Takes the place of what was read before. None where nothing was.
    pub(super) fn remember(
        &mut self,
        node: &str,
        reads: &mut dyn Iterator<Item = &Read>,
    ) -> Option<Arc<[Question]>> {
        let mut questions: Vec<&Question> = Vec::new();
        for Read { question, .. } in reads {
            if question.about().is_some() && !questions.contains(&question) {
                questions.push(question);
            }
        }
        if questions.is_empty() {
            self.forget(node);
            return None;
        }
        if !self.last.iter().eq(questions.iter().copied()) {
            self.last = questions.into_iter().cloned().collect();
        }
        match self.by_node.get_mut(node) {
            Some(known) if *known == self.last => return Some(Arc::clone(known)),
            Some(known) => *known = Arc::clone(&self.last),
            None => {
                self.by_node.insert(node.to_owned(), Arc::clone(&self.last));
            }
        }
        Some(Arc::clone(&self.last))
    }

    pub(super) fn of(&self, node: &str) -> Option<&Arc<[Question]>> {
        self.by_node.get(node)
    }

    /// All nodes about which something was asked.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &String> {
        self.by_node.keys()
    }

    /// Those about which something of this kind was asked.
    pub(super) fn nodes_that_asked(&self, kind: Kind) -> Vec<String> {
        let asks = |questions: &Arc<[Question]>| {
            let mut questions = questions.iter();
            questions.any(|question| question.about() == Some(kind))
        };
        let nodes = self.by_node.iter().filter(|(_, questions)| asks(questions));
        nodes.map(|(node, _)| node.clone()).collect()
    }

    pub(super) fn forget(&mut self, node: &str) {
        self.by_node.remove(node);
    }
}

/// Is one of these answered otherwise, or no longer for so long? Both at one moment: what time alone changes is
/// waited for by whoever decided. An answer that holds until later is none: the node comes back when it was
/// to come back, and then waits anew. Or else each renewal of a lease would bring its node back.
pub(super) fn differs(
    questions: &[Question],
    before: &Related,
    after: &Related,
    now: Timestamp,
) -> bool {
    let mut questions = questions.iter();
    questions.any(
        |question| match (before.answer(question, now), after.answer(question, now)) {
            (Some((before, held)), Some((after, holds))) => {
                let is_sooner = holds.is_some_and(|now| held.is_none_or(|then| now < then));
                before != after || is_sooner
            }
            _ => false,
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use planner::lease::Lease;
    use planner::question::Answer;

    use super::*;

    #[test]
    fn only_nodes_about_which_such_objects_were_asked_are_compared() {
        let read = |question| Read {
            question,
            answer: Answer::Bool(true),
            until: None,
        };
        let lease = read(Question::HasLease);
        let set = read(Question::HasDaemonSet {
            daemon_sets: Box::default(),
        });
        let mut reads = Reads::default();
        for (node, asked) in [("both", &[&lease, &set] as &[_]), ("lease", &[&lease])] {
            let mut asked = asked.iter().copied();
            assert!(reads.remember(node, &mut asked).is_some());
        }
        assert_eq!(reads.nodes_that_asked(Kind::DaemonSets), ["both"]);
        assert_eq!(reads.nodes_that_asked(Kind::Leases).len(), 2);
    }

    #[test]
    fn an_answer_that_holds_for_longer_is_no_change_and_any_other_is() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let at_most = Duration::from_secs(40);
        let questions = [Question::HasLease, Question::RenewedWithin { at_most }];
        let with = |lease| Related {
            lease: Some(lease),
            ..Related::nothing()
        };
        let differs =
            |before: Lease, after: Lease| differs(&questions, &with(before), &with(after), at(100));
        let renewed = |second| Lease::Renewed(at(second));
        assert!(!differs(renewed(70), renewed(80)));
        assert!(!differs(renewed(10), renewed(20)), "too old as before");
        assert!(differs(renewed(80), renewed(70)), "too old sooner");
        assert!(differs(renewed(10), renewed(80)));
        assert!(differs(renewed(80), renewed(10)));
        assert!(differs(Lease::Absent, renewed(10)));
        // From a clock far ahead: it begins to count, or later.
        assert!(differs(renewed(10), renewed(1000)), "counts some time");
        assert!(!differs(renewed(1000), renewed(2000)));
        // What is not known any more is another answer.
        let unknown = Related {
            lease: None,
            ..Related::nothing()
        };
        assert!(super::differs(
            &questions,
            &with(Lease::Absent),
            &unknown,
            at(100)
        ));
    }
}

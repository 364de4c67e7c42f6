//! Which questions about other objects were read to decide about each node.

use std::collections::HashMap;
use std::sync::Arc;

use planner::Timestamp;
use planner::question::{Question, Read};
use planner::related::Related;

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

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&String, &Arc<[Question]>)> {
        self.by_node.iter()
    }

    pub(super) fn forget(&mut self, node: &str) {
        self.by_node.remove(node);
    }
}

/// Is one of these answered otherwise, or until another time? Both at one moment: what time alone changes is
/// waited for by whoever decided.
pub(super) fn differs(
    questions: &[Question],
    before: &Related,
    after: &Related,
    now: Timestamp,
) -> bool {
    let mut questions = questions.iter();
    questions.any(|question| before.answer(question, now) != after.answer(question, now))
}

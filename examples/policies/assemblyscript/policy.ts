// The semantics of the default policy, without its parameters.

import {
  Completion,
  Decision,
  Enforcement,
  Matching,
  Requirement,
  Status,
  TaintAction,
  bootstrapCompleted,
  conditionIs,
  decided,
  described,
  failed,
  hasCondition,
  matchPolicy,
  mode,
  parameters,
  problem,
  requirements,
} from "./contract";

export { cabi_realloc } from "./contract";

export function describe(): usize {
  return described("conditions", "1.0.0");
}

export function check(): usize {
  return problem(parameters().length == 0 ? null : "this policy takes no parameters");
}

export function evaluate(): usize {
  const wanted = requirements();
  // An empty list must not open a gate.
  if (wanted.length == 0) return failed("the rule has no conditions");

  // The first one that is met decides, or the first one that is not.
  const decisive = matchPolicy() == Matching.AnyOf;
  let satisfied = !decisive;
  const decision = new Decision(wanted.length);
  for (let index: u32 = 0; index < wanted.length; index++) {
    const met = isMet(wanted.at(index));
    decision.find(index, met);
    if (met == decisive) {
      satisfied = decisive;
      break;
    }
  }
  decide(decision, satisfied);
  return decided(decision);
}

function decide(decision: Decision, satisfied: bool): void {
  if (mode() == Enforcement.Continuous) {
    if (satisfied) decision.is(TaintAction.Absent, "ConditionsMet");
    else decision.is(TaintAction.Present, "ConditionsNotMet");
    return;
  }
  const completed = bootstrapCompleted() != Completion.None;
  if (satisfied && completed) {
    decision.is(TaintAction.Absent, "ConditionsMet");
  } else if (satisfied) {
    decision.is(TaintAction.Absent, "BootstrapCompleted");
    decision.completeBootstrap = true;
  } else if (completed) {
    decision.is(TaintAction.Keep, "BootstrapAlreadyCompleted");
  } else {
    decision.is(TaintAction.Present, "ConditionsNotMet");
  }
}

function isMet(wanted: Requirement): bool {
  if (conditionIs(wanted, wanted.required, 0)) return true;
  // Whether the node shows it at all matters only where its absence would do.
  return wanted.fallback == wanted.required && !hasCondition(wanted);
}

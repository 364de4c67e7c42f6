// The semantics of the default policy, without its parameters.

import * as bootstrap from 'node-readiness:policy/bootstrap@0.1.0';
import * as node from 'node-readiness:policy/node@0.1.0';
import * as rule from 'node-readiness:policy/rule@0.1.0';

export const decide = { describe, check, evaluate };

function describe() {
  return { name: 'conditions', version: '1.0.0', parameters: '', domains: [] };
}

function check() {
  if (rule.parameters() === '') return [];
  return [{ path: '', message: 'this policy takes no parameters' }];
}

function evaluate() {
  const requirements = rule.requirements();
  // An empty list must not open a gate. What is thrown is the policy's error.
  if (requirements.length === 0) throw 'the rule has no conditions';

  // The first one that is met decides, or the first one that is not.
  const decisive = rule.matchPolicy() === 'any-of';
  let satisfied = !decisive;
  const findings = [];
  for (const [index, requirement] of requirements.entries()) {
    const met = isMet(requirement);
    findings.push({ subject: { tag: 'requirement', val: index }, met });
    if (met === decisive) {
      satisfied = decisive;
      break;
    }
  }
  return { ...decision(satisfied), perBoot: false, message: '', findings };
}

function decision(satisfied) {
  const is = (taint, reason, completeBootstrap = false) => ({ taint, reason, completeBootstrap });
  if (rule.mode() === 'continuous') {
    return satisfied ? is('absent', 'ConditionsMet') : is('present', 'ConditionsNotMet');
  }
  const completed = bootstrap.completed() !== 'none';
  if (satisfied) {
    return completed ? is('absent', 'ConditionsMet') : is('absent', 'BootstrapCompleted', true);
  }
  return completed ? is('keep', 'BootstrapAlreadyCompleted') : is('present', 'ConditionsNotMet');
}

function isMet({ condition, required, fallback }) {
  if (node.conditionIs(condition, required, 0)) return true;
  // Whether the node shows it at all matters only where its absence would do.
  return (fallback ?? 'unknown') === required && !node.hasCondition(condition);
}

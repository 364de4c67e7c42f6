"""The semantics of the default policy, without its parameters."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import bootstrap, node, rule
from wit_world.imports.types import (
    Completion,
    Decision,
    Description,
    Enforcement,
    Finding,
    Matching,
    Problem,
    Requirement,
    Status,
    Subject_Requirement,
    TaintAction,
)


class Decide(exports.Decide):
    def describe(self) -> Description:
        return Description("conditions", "1.0.0", "", [])

    def check(self) -> list[Problem]:
        if rule.parameters() == "":
            return []
        return [Problem("", "this policy takes no parameters")]

    def evaluate(self) -> Decision:
        requirements = rule.requirements()
        if not requirements:
            # An empty list must not open a gate.
            raise Err("the rule has no conditions")
        # The first one that is met decides, or the first one that is not.
        decisive = rule.match_policy() == Matching.ANY_OF
        satisfied = not decisive
        findings = []
        for index, requirement in enumerate(requirements):
            met = is_met(requirement)
            findings.append(Finding(Subject_Requirement(index), met))
            if met == decisive:
                satisfied = decisive
                break
        taint, reason, complete_bootstrap = decide(satisfied)
        return Decision(taint, complete_bootstrap, False, reason, "", findings)


def decide(satisfied: bool) -> tuple[TaintAction, str, bool]:
    if rule.mode() == Enforcement.CONTINUOUS:
        if satisfied:
            return TaintAction.ABSENT, "ConditionsMet", False
        return TaintAction.PRESENT, "ConditionsNotMet", False
    completed = bootstrap.completed() != Completion.NONE
    if satisfied and completed:
        return TaintAction.ABSENT, "ConditionsMet", False
    if satisfied:
        return TaintAction.ABSENT, "BootstrapCompleted", True
    if completed:
        return TaintAction.KEEP, "BootstrapAlreadyCompleted", False
    return TaintAction.PRESENT, "ConditionsNotMet", False


def is_met(requirement: Requirement) -> bool:
    if node.condition_is(requirement.condition, requirement.required, 0):
        return True
    # Whether the node shows it at all matters only where its absence would do.
    absent = Status.UNKNOWN if requirement.fallback is None else requirement.fallback
    return absent == requirement.required and not node.has_condition(requirement.condition)

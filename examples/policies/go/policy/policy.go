// Package export_node_readiness_policy_decide is the policy; its name is that of what it exports. It has the
// semantics of the default policy, without its parameters.
package export_node_readiness_policy_decide

import (
	. "go.bytecodealliance.org/pkg/wit/types"

	bootstrap "wit_component/node_readiness_policy_bootstrap"
	node "wit_component/node_readiness_policy_node"
	rule "wit_component/node_readiness_policy_rule"
	types "wit_component/node_readiness_policy_types"
)

func Describe() types.Description {
	return types.Description{Name: "conditions", Version: "1.0.0"}
}

func Check() []types.Problem {
	if rule.Parameters() == "" {
		return nil
	}
	return []types.Problem{{Message: "this policy takes no parameters"}}
}

func Evaluate() Result[types.Decision, string] {
	requirements := rule.Requirements()
	if len(requirements) == 0 {
		// An empty list must not open a gate.
		return Err[types.Decision]("the rule has no conditions")
	}
	// The first one that is met decides, or the first one that is not.
	decisive := rule.MatchPolicy() == types.MatchingAnyOf
	satisfied := !decisive
	var findings []types.Finding
	for index, requirement := range requirements {
		met := isMet(requirement)
		subject := types.MakeSubjectRequirement(uint32(index))
		findings = append(findings, types.Finding{Subject: subject, Met: met})
		if met == decisive {
			satisfied = decisive
			break
		}
	}
	decision := decide(satisfied)
	decision.Findings = findings
	return Ok[types.Decision, string](decision)
}

func decide(satisfied bool) types.Decision {
	present := types.Decision{Taint: types.TaintActionPresent, Reason: "ConditionsNotMet"}
	absent := types.Decision{Taint: types.TaintActionAbsent, Reason: "ConditionsMet"}
	if rule.Mode() == types.EnforcementContinuous {
		if satisfied {
			return absent
		}
		return present
	}
	completed := bootstrap.Completed() != types.CompletionNone
	switch {
	case satisfied && completed:
		return absent
	case satisfied:
		absent.Reason = "BootstrapCompleted"
		absent.CompleteBootstrap = true
		return absent
	case completed:
		return types.Decision{Taint: types.TaintActionKeep, Reason: "BootstrapAlreadyCompleted"}
	default:
		return present
	}
}

func isMet(requirement types.Requirement) bool {
	if node.ConditionIs(requirement.Condition, requirement.Required, 0) {
		return true
	}
	// Whether the node shows it at all matters only where its absence would do.
	absent := requirement.Fallback.SomeOr(types.StatusUnknown)
	return absent == requirement.Required && !node.HasCondition(requirement.Condition)
}

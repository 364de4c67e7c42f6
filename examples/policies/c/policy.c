// The semantics of the default policy, without its parameters.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/policy.h"

// What the generator calls them, in short.
typedef exports_node_readiness_policy_decide_decision_t decision_t;
typedef exports_node_readiness_policy_decide_description_t description_t;
typedef exports_node_readiness_policy_decide_problem_t problem_t;
typedef exports_node_readiness_policy_decide_list_problem_t problems_t;
typedef node_readiness_policy_rule_list_requirement_t requirements_t;
typedef node_readiness_policy_rule_requirement_t requirement_t;
typedef node_readiness_policy_types_finding_t finding_t;
typedef node_readiness_policy_types_status_t status_t;
#define PRESENT NODE_READINESS_POLICY_TYPES_TAINT_ACTION_PRESENT
#define ABSENT NODE_READINESS_POLICY_TYPES_TAINT_ACTION_ABSENT
#define KEEP NODE_READINESS_POLICY_TYPES_TAINT_ACTION_KEEP

// The part of a C library that the bindings want. Each evaluation has a memory of its own, which is dropped as a
// whole: to take the next bytes is all that an allocator needs to do.
extern unsigned char __heap_base;
static uintptr_t next;

void *malloc(size_t size) {
  if (next == 0) next = (uintptr_t)&__heap_base;
  uintptr_t start = (next + 7) & ~(uintptr_t)7;
  uintptr_t have = __builtin_wasm_memory_size(0) << 16;
  if (size > UINTPTR_MAX - start) abort();
  next = start + size;
  if (next > have && __builtin_wasm_memory_grow(0, ((next - have) + 0xffff) >> 16) == SIZE_MAX) abort();
  return (void *)start;
}

void *realloc(void *old, size_t size) {
  // Only the bindings call it, and only with nothing to grow.
  return old == NULL ? malloc(size) : (abort(), NULL);
}

void free(void *block) { (void)block; }

void abort(void) { __builtin_trap(); }

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

void exports_node_readiness_policy_decide_describe(description_t *description) {
  policy_string_set(&description->name, "conditions");
  policy_string_set(&description->version, "1.0.0");
  policy_string_set(&description->parameters, "");
  description->domains.ptr = NULL;
  description->domains.len = 0;
}

void exports_node_readiness_policy_decide_check(problems_t *problems) {
  policy_string_t parameters;
  node_readiness_policy_rule_parameters(&parameters);
  problems->len = parameters.len == 0 ? 0 : 1;
  problems->ptr = malloc(sizeof(problem_t));
  policy_string_set(&problems->ptr->path, "");
  policy_string_set(&problems->ptr->message, "this policy takes no parameters");
}

static bool is_met(requirement_t *requirement) {
  status_t required = requirement->required;
  if (node_readiness_policy_node_condition_is(&requirement->condition, required, 0)) return true;
  // Whether the node shows it at all matters only where its absence would do.
  status_t absent = requirement->fallback.is_some ? requirement->fallback.val
                                                  : NODE_READINESS_POLICY_TYPES_STATUS_UNKNOWN;
  return absent == required && !node_readiness_policy_node_has_condition(&requirement->condition);
}

static void is(decision_t *decision, uint8_t taint, const char *reason) {
  decision->taint = taint;
  policy_string_set(&decision->reason, reason);
}

static void decide(decision_t *decision, bool satisfied) {
  if (node_readiness_policy_rule_mode() == NODE_READINESS_POLICY_TYPES_ENFORCEMENT_CONTINUOUS) {
    if (satisfied) {
      is(decision, ABSENT, "ConditionsMet");
    } else {
      is(decision, PRESENT, "ConditionsNotMet");
    }
    return;
  }
  bool completed =
      node_readiness_policy_bootstrap_completed() != NODE_READINESS_POLICY_TYPES_COMPLETION_NONE;
  if (satisfied && completed) {
    is(decision, ABSENT, "ConditionsMet");
  } else if (satisfied) {
    is(decision, ABSENT, "BootstrapCompleted");
    decision->complete_bootstrap = true;
  } else if (completed) {
    is(decision, KEEP, "BootstrapAlreadyCompleted");
  } else {
    is(decision, PRESENT, "ConditionsNotMet");
  }
}

bool exports_node_readiness_policy_decide_evaluate(decision_t *decision, policy_string_t *error) {
  requirements_t requirements;
  node_readiness_policy_rule_requirements(&requirements);
  if (requirements.len == 0) {
    // An empty list must not open a gate.
    policy_string_set(error, "the rule has no conditions");
    return false;
  }
  // The first one that is met decides, or the first one that is not.
  bool decisive =
      node_readiness_policy_rule_match_policy() == NODE_READINESS_POLICY_TYPES_MATCHING_ANY_OF;
  bool satisfied = !decisive;
  finding_t *findings = malloc(requirements.len * sizeof(finding_t));
  size_t count = 0;
  while (count < requirements.len) {
    bool met = is_met(&requirements.ptr[count]);
    finding_t *finding = &findings[count];
    finding->subject.tag = NODE_READINESS_POLICY_TYPES_SUBJECT_REQUIREMENT;
    finding->subject.val.requirement = count;
    finding->met = met;
    count++;
    if (met == decisive) {
      satisfied = decisive;
      break;
    }
  }
  decision->complete_bootstrap = false;
  decision->per_boot = false;
  policy_string_set(&decision->message, "");
  decision->findings.ptr = findings;
  decision->findings.len = count;
  decide(decision, satisfied);
  return true;
}

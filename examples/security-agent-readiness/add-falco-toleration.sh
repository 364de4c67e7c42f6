#!/usr/bin/env bash
# Lets Falco run on the nodes that wait for it. Tolerations that are there stay; run again it changes
# nothing.
set -euo pipefail

namespace=falco
key=readiness.k8s.io/security-agent-ready
effect=NoSchedule

usage() {
  cat <<EOF
Usage: $0

Adds to the DaemonSet falco in namespace $namespace a toleration of $key:$effect.
Where a rule waits for a condition of the other option it changes nothing, and says so.
It uses the current context of kubectl. Exit status: 0 done, 1 wrong use or something failed.
EOF
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  usage
  exit 0
fi
if (($# > 0)); then
  usage >&2
  fail "this script takes no arguments, and was given '$1'"
fi
command -v kubectl >/dev/null || fail "kubectl is not on the PATH: install it"
if ! said=$(kubectl get --raw=/version --request-timeout=10s 2>&1); then
  printf '%s\n' "$said" >&2
  fail "no cluster answers: see that the current context of kubectl is the one that you mean"
fi
found=$(kubectl get daemonset falco --namespace "$namespace" --ignore-not-found --output name) ||
  fail "the DaemonSets of namespace $namespace cannot be read"
[[ -n $found ]] || fail "there is no DaemonSet falco in namespace $namespace: run setup-falco.sh first"

# A rule that waits for the reporter of the other option would hold its nodes for ever. One that is replaced decides
# nothing.
reported=" $(kubectl get daemonset falco --namespace "$namespace" --output \
  jsonpath='{.spec.template.spec.containers[*].env[?(@.name=="CONDITION_TYPE")].value}') "
if [[ -n $(kubectl get daemonset npd-falco --namespace "$namespace" --ignore-not-found --output name) ]]; then
  reported+="falco.org/FalcoNotReady "
fi
rules=$(kubectl get nodereadinessrules --output \
  jsonpath='{range .items[*]}{.metadata.name}|{.spec.taint.key}|{.spec.conditions[*].type}{"\n"}{end}' 2>/dev/null) || rules=
replaced=" $(kubectl get nodereadinessrules --output jsonpath='{.items[*].spec.replaces}' 2>/dev/null) " || replaced=
while IFS='|' read -r rule its_key conditions; do
  [[ $its_key == "$key" && $replaced != *" $rule "* ]] || continue
  for condition in $conditions; do
    if [[ $condition == falco.org/* && $reported != *" $condition "* ]]; then
      fail "rule $rule waits for $condition, and nothing in namespace $namespace reports it: nothing was changed." \
        "Apply the rule that setup-falco.sh named, with 'replaces: $rule' in its spec, and delete this one when that is" \
        "Ready; or run setup-falco.sh for the option of this rule. Then run this script again."
    fi
  done
done <<<"$rules"

# Key, operator and effect of each. No key tolerates every key, no effect every effect.
tolerations=$(kubectl get daemonset falco --namespace "$namespace" --output \
  jsonpath='{range .spec.template.spec.tolerations[*]}{.key}|{.operator}|{.effect}{"\n"}{end}')
tolerated=false
while IFS='|' read -r its_key its_operator its_effect; do
  if [[ $its_operator == Exists && ($its_key == "$key" || -z $its_key) && ($its_effect == "$effect" || -z $its_effect) ]]; then
    tolerated=true
  fi
done <<<"$tolerations"

if [[ $tolerated == true ]]; then
  echo "daemonset.apps/falco tolerates $key:$effect already"
else
  # Exists: a taint is recognised by key and effect, whatever its value.
  toleration="{\"key\":\"$key\",\"operator\":\"Exists\",\"effect\":\"$effect\"}"
  path=/spec/template/spec/tolerations
  if [[ -z $tolerations ]]; then
    # Refused if somebody adds the first toleration in this moment.
    change="[{\"op\":\"test\",\"path\":\"$path\",\"value\":null},{\"op\":\"add\",\"path\":\"$path\",\"value\":[$toleration]}]"
  else
    change="[{\"op\":\"add\",\"path\":\"$path/-\",\"value\":$toleration}]"
  fi
  kubectl patch daemonset falco --namespace "$namespace" --type json --patch "$change"
fi

#!/usr/bin/env bash
# Installs Falco, and what reports to its node whether Falco is ready. Run again it changes nothing.
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
namespace=falco
# The image in nrr-variant/security-agent-reporter-sidecar.yaml.
default_image=node-readiness-reporter:0.1.0

usage() {
  cat <<EOF
Usage: USE_NRR=true $0    # Option A: a reporter beside Falco, in its pods
       USE_NPD=true $0    # Option B: Node Problem Detector, in pods of its own

Give one of the two. Further variables:
  FALCO_CHART          Falco's chart: a folder, a .tgz file, or a URL (https or oci).
                       Without it: falco, from https://falcosecurity.github.io/charts
  FALCO_CHART_VERSION  The version of the chart; without it the newest.
  FALCO_VALUES         A file with values for the chart.
  REPORTER_IMAGE       The image of the reporter (Option A); without it $default_image

It uses the current context of kubectl. Exit status: 0 done, 1 wrong use or something failed.
EOF
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
# What a program says is shown only where it failed.
quietly() {
  local output
  output=$("$@" 2>&1) || {
    printf '%s\n' "$output" >&2
    return 1
  }
}

# ---- What is wanted

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  usage
  exit 0
fi
use_nrr=${USE_NRR:-false} use_npd=${USE_NPD:-false}
for value in "$use_nrr" "$use_npd"; do
  if [[ $value != true && $value != false ]]; then
    usage >&2
    fail "USE_NRR and USE_NPD are true or false, not '$value'"
  fi
done
if (($# > 0)) || [[ $use_nrr == "$use_npd" ]]; then
  usage >&2
  if (($# > 0)); then
    fail "this script takes no arguments, and was given '$1'"
  elif [[ $use_nrr == true ]]; then
    fail "USE_NRR and USE_NPD are both true: choose one"
  fi
  fail "neither USE_NRR nor USE_NPD is true: choose one"
fi
image=${REPORTER_IMAGE:-$default_image}
if [[ ! $image =~ ^[A-Za-z0-9][A-Za-z0-9._:/@-]*$ ]]; then
  fail "REPORTER_IMAGE is '$image', which is not the name of an image"
fi

if [[ -n ${FALCO_CHART:-} ]]; then
  chart=("$FALCO_CHART")
else
  chart=(falco --repo https://falcosecurity.github.io/charts)
fi
if [[ -n ${FALCO_CHART_VERSION:-} ]]; then
  chart+=(--version "$FALCO_CHART_VERSION")
fi
if [[ -n ${FALCO_VALUES:-} ]]; then
  [[ -r $FALCO_VALUES ]] || fail "FALCO_VALUES is $FALCO_VALUES, and there is no such file that can be read"
  chart+=(--values "$FALCO_VALUES")
fi
# An account of Falco's own, whatever the chart does by itself: it gets the reporter's rights.
chart+=(--set serviceAccount.create=true --set serviceAccount.name=falco)

if [[ $use_nrr == true ]]; then
  patch=$here/nrr-variant/security-agent-reporter-sidecar.yaml
  rights=$here/nrr-variant/security-agent-reporter-rbac.yaml
  rule=$here/nrr-variant/security-agent-readiness-rule.yaml
else
  patch=$here/npd-variant/falco-host-network-patch.yaml
  rights=$here/npd-variant/npd-rbac.yaml
  config=$here/npd-variant/npd-falco-config.yaml
  detector=$here/npd-variant/npd-daemonset.yaml
  rule=$here/npd-variant/security-agent-readiness-rule-npd.yaml
fi

# ---- Everything is looked at before anything is changed

for program in kubectl helm; do
  command -v "$program" >/dev/null || fail "$program is not on the PATH: install it"
done
for file in "$patch" "$rights" "${config:-$rule}" "${detector:-$rule}" "$rule"; do
  [[ -r $file ]] || fail "$file is missing: keep this script in its folder, with the files beside it"
done
quietly kubectl get --raw=/version --request-timeout=10s ||
  fail "no cluster answers: see that the current context of kubectl is the one that you mean"

# Is there a release, and whose is it? One that is there is redone only if no installation or upgrade of it was ever
# completed and it has the account that this script gives: all else would lose values that somebody gave it.
quietly helm list --namespace "$namespace" --filter '^falco$' --short ||
  fail "helm cannot list the releases of namespace $namespace"
history=$(helm history falco --namespace "$namespace" --output json 2>/dev/null) || history=
values=
if [[ -n $history ]]; then
  values=$(helm get values falco --namespace "$namespace" --output json) ||
    fail "helm cannot read the values of release falco in namespace $namespace"
fi
daemonset=$(kubectl get daemonset falco --namespace "$namespace" --ignore-not-found --output name) ||
  fail "the DaemonSets of namespace $namespace cannot be read"
# Of the last revision: greedy, as the history goes from old to new.
status=none
[[ ! $history =~ .*\"status\":\"([a-z-]+)\" ]] || status=${BASH_REMATCH[1]}
completed='"status":"(deployed|superseded|uninstalled)"'
own_account='"serviceAccount":\{.*"create":true.*"name":"falco"'
if [[ $status == none || $status == uninstalled ]]; then
  release=none
elif [[ $status == deployed ]]; then
  release=whole
elif [[ $history == '[{"revision":1,'* && ! $history =~ $completed && $values =~ $own_account ]]; then
  release=broken-off
else
  release=failed
fi
if [[ $release == broken-off || ($release == none && -z $daemonset) ]]; then
  install=true
elif [[ -n $daemonset ]]; then
  install=false
else
  fail "release falco in namespace $namespace has no DaemonSet falco: it is not changed, since that could lose its values; have its chart make one, or uninstall it, and run this again"
fi

rights_needed=("patch daemonsets.apps")
if [[ $install == true ]]; then
  rights_needed+=("create daemonsets.apps" "create secrets")
  if [[ -z $(kubectl get namespace "$namespace" --ignore-not-found --output name) ]]; then
    rights_needed+=("create namespaces")
  fi
  objects=$(helm template falco "${chart[@]}" --namespace "$namespace" |
    kubectl create --dry-run=client --validate=false --output name --filename -) ||
    fail "Falco's chart cannot be used: see what helm and kubectl say above, and FALCO_CHART, FALCO_CHART_VERSION and FALCO_VALUES"
  grep -qx daemonset.apps/falco <<<"$objects" ||
    fail "Falco's chart makes no DaemonSet named falco: this script knows no other shape of Falco"
fi
if [[ $use_npd == true ]]; then
  rights_needed+=("create configmaps" "create serviceaccounts" "create daemonsets.apps")
fi
for right in "${rights_needed[@]}"; do
  read -r verb resource <<<"$right"
  quietly kubectl auth can-i "$verb" "$resource" --namespace "$namespace" ||
    fail "you may not $verb $resource in namespace $namespace: ask for that right, or use another context of kubectl"
done
# These are for no namespace of ours, so that the API server can be asked itself.
quietly kubectl apply --dry-run=server --filename "$rights" ||
  fail "the objects of $rights would not be accepted"

# ---- The changes

if [[ $install == true ]]; then
  # Nothing is waited for: on tainted nodes Falco starts when it tolerates the taint.
  quietly helm upgrade --install falco "${chart[@]}" --namespace "$namespace" --create-namespace ||
    fail "helm could not install Falco: mend what it says above, and run this again"
  say "release/falco: installed"
else
  say "daemonset.apps/falco: there already, left as its chart made it"
  if [[ $release == failed ]]; then
    say "release/falco: its last operation did not succeed, and it keeps its values: see helm status falco --namespace $namespace"
  fi
fi

account=$(kubectl get daemonset falco --namespace "$namespace" \
  --output jsonpath='{.spec.template.spec.serviceAccountName}')
if [[ $use_nrr == true ]]; then
  # The account and the image are the only lines of these files with these values.
  sed "s|^    name: falco\$|    name: ${account:-default}|" "$rights" | kubectl apply --filename -
  sed "s|^\( *image: \)$default_image\$|\1$image|" "$patch" |
    kubectl patch daemonset falco --namespace "$namespace" --patch-file /dev/stdin
else
  kubectl apply --filename "$rights"
  kubectl patch daemonset falco --namespace "$namespace" --patch-file "$patch"
  kubectl apply --filename "$config" --filename "$detector"
fi

say
say "Next, the rule that goes with this option, and Falco's toleration:"
say "  kubectl apply -f $rule"
say "  $here/add-falco-toleration.sh"

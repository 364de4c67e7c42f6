#!/bin/sh
# Runs kubectl with the token of the reporter's pod on a node: as-reporter.sh NODE ARGUMENTS…
set -eu
if [ "$#" -lt 2 ]; then
  echo "usage: as-reporter.sh NODE ARGUMENTS…" >&2
  exit 2
fi
node=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
pod=$(kubectl get pods --namespace kube-system --selector app=reporter \
  --field-selector "spec.nodeName=$node" --output name)
if [ -z "$pod" ]; then
  echo "as-reporter.sh: no pod of the reporter is on node $node" >&2
  exit 1
fi
token=$(kubectl create token reporter --namespace kube-system --bound-object-kind Pod --bound-object-name "${pod#pod/}")
kubectl config view --raw --minify > "$folder/config"
# No certificate of the administrator beside the token.
kubectl --kubeconfig "$folder/config" config set-credentials reporter --token "$token" > "$folder/log"
kubectl --kubeconfig "$folder/config" config set-context --current --user reporter > "$folder/log"
kubectl --kubeconfig "$folder/config" "$@"

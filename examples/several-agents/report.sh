#!/bin/sh
# Plays an agent's reporter: report.sh NODE CONDITION True|False
set -eu
if [ "$#" -ne 3 ]; then
  echo "usage: report.sh NODE CONDITION True|False" >&2
  exit 2
fi
kubectl patch node "$1" --subresource=status --type=strategic \
  --patch "{\"status\": {\"conditions\": [{\"type\": \"$2\", \"status\": \"$3\", \"reason\": \"ByHand\"}]}}"

// Nothing is built of it: a test reads the definition of Karpenter's NodePool.
module node-readiness-host/tests/control-plane/karpenter

go 1.26.0

require sigs.k8s.io/karpenter v1.14.0

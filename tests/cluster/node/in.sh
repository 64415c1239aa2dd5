#!/usr/bin/env bash
# Runs a command (kubectl, helm, curl, ctr, a load) inside the node's namespaces: in.sh STATE COMMAND…
set -euo pipefail
state=$(realpath "$1")
shift
# The line has no end, which `read` takes for a failure.
read -r first _ <"/proc/$(<"$state/pid")/task/$(<"$state/pid")/children" || true
export KUBECONFIG=$state/kubeconfig PATH=$state/bin:$PATH
export CONTAINERD_ADDRESS=/run/containerd/containerd.sock CONTAINERD_NAMESPACE=k8s.io
exec nsenter --target "$first" --mount --pid --net --ipc --uts --cgroup --wd="$PWD" "$@"

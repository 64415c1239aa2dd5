#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl into bin/, beside this file,
# at the versions go.mod names. Needs Go and nothing else. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

programs=(etcd kube-apiserver kube-controller-manager kubectl)
# Whatever can change the outcome; the Go release is named by go.mod.
key=$(cat go.mod go.sum build.sh version.sh | sha256sum | cut -d' ' -f1)

built() {
  [[ -f bin/key && $(<bin/key) == "$key" ]] || return 1
  for program in "${programs[@]}"; do [[ -x bin/$program ]] || return 1; done
}

if built; then
  echo "test control plane: up to date"
  exit 0
fi
if ! command -v go >/dev/null; then
  echo "tests/cluster/build.sh: needs Go (https://go.dev/dl) to build the test control plane" >&2
  exit 2
fi

mkdir -p bin
# Two runs at once would compile everything twice; the second waits and then finds the work done.
exec 9>bin/lock
flock 9
if built; then exit 0; fi

# shellcheck source=tests/cluster/version.sh
source ./version.sh
echo "test control plane: building etcd and Kubernetes $version from source, once (about 8 minutes on 2 cores; half a minute with a warm Go cache)"

rm -rf bin/new
mkdir bin/new
go build -trimpath -buildvcs=false -ldflags "$ldflags" -o bin/new/ \
  go.etcd.io/etcd/server/v3 \
  k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kubectl}
mv bin/new/server bin/new/etcd # Go names a program after its folder.

# The key goes last: an interrupted build is never taken for a finished one. Moving, not overwriting,
# leaves a control plane that still runs from the old files alone.
rm -f bin/key
for program in "${programs[@]}"; do mv -f "bin/new/$program" "bin/$program"; done
rmdir bin/new
echo "$key" >bin/key
echo "test control plane: built in $SECONDS s"

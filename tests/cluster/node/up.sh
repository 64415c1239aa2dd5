#!/usr/bin/env bash
# Runs a whole Kubernetes of one node: etcd, the control plane, kubelet, containerd, kube-proxy and CoreDNS, from HOME (the
# folder that build.sh prints), with state and logs in STATE, which must be on a file system that overlays can lie on. It
# has mount, process, network, IPC, host name and cgroup namespaces of its own, so nothing of it is seen from outside:
# commands go in with in.sh, and down.sh ends all of it with one kill. Prints when it is ready, after about 6 seconds.
#
# Needs root and cgroup v1.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
if [[ $# != 2 ]]; then
  echo "usage: ${0##*/} HOME STATE" >&2
  exit 2
fi
home=$(realpath "$1")
mkdir -p "$2/log"
state=$(realpath "$2")
ln -sfn "$home" "$state/bin"

(
  # A cgroup of its own below the caller's, in every hierarchy: the cgroup namespace shows it as the root, so pods stay
  # inside it. The list is read whole first, because it changes with every move.
  list=$(</proc/self/cgroup)
  while IFS=: read -r _ controllers path; do
    [[ $controllers ]] || continue
    parent=/sys/fs/cgroup/${controllers#name=}${path%/}
    group=$parent/headgate-node-$BASHPID
    mkdir -p "$group"
    echo "$group" >>"$state/cgroups"
    if [[ $controllers == cpuset ]]; then
      for file in cpus mems; do cat "$parent/cpuset.$file" >"$group/cpuset.$file"; done
    fi
    echo "$BASHPID" >"$group/cgroup.procs"
  done <<<"$list"
  echo "$BASHPID" >"$state/pid"
  exec setsid unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child --mount-proc \
    "$here/init.sh" "$state" >"$state/log/init.log" 2>&1 </dev/null
) &
started=$!

for ((tries = 0; tries < 900; tries++)); do
  if [[ -e $state/ready ]]; then
    echo "test node: ready after $SECONDS s"
    exit 0
  fi
  if [[ -e $state/failed ]] || ! kill -0 "$started" 2>/dev/null; then break; fi
  sleep 0.1
done
echo "the node did not come up; its logs are in $state/log" >&2
tail -n 20 "$state/log/init.log" >&2
exit 1

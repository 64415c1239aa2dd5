#!/usr/bin/env bash
# Ends the node and its pods, and removes its cgroups: one kill, and the kernel ends everything in its process namespace.
set -euo pipefail
state=$(realpath "$1")
pid=$(<"$state/pid")
kill -KILL "$pid" 2>/dev/null || true
for ((tries = 0; tries < 100; tries++)); do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
while read -r group; do
  for ((tries = 0; tries < 50; tries++)); do
    [[ -d $group ]] || break
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
  done
done <"$state/cgroups"
rm -f "$state/pid" "$state/cgroups"

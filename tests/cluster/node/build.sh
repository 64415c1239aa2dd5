#!/usr/bin/env bash
# Builds what a node has beside the control plane of ../build.sh: kubelet, scheduler, kube-proxy and CoreDNS from source,
# containerd, runc, the CNI plugins and Prometheus out of Debian's packages, and the image of pods' pauses. Prints the folder that
# holds all of it, control plane included; it is outside the work tree, named by what it is made of, and kept: about
# 5 minutes on 2 cores beyond the control plane the first time, nothing after that.
#
# Needs Go, gcc and Debian's apt. Installs nftables on the machine, if it is missing, and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

key=$(cat go.mod go.sum version.sh node/build.sh node/image.py node/dns/* node/load/* | sha256sum | cut -c1-16)
home=${HEADGATE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/headgate}/node-$key

say() { echo "test node: $*" >&2; }

if ! command -v nft >/dev/null; then
  say "installing nftables, which kube-proxy needs"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nftables >/dev/null </dev/null
fi
# Those of other versions go when nobody has asked for them for two weeks.
find "${home%/*}" -maxdepth 1 -name 'node-*' -mtime +14 -exec rm -rf {} + 2>/dev/null || true
if [[ -e $home/complete ]]; then
  touch "$home"
  echo "$home"
  exit 0
fi

./build.sh >&2
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
new=$home/new
rm -rf "$new"
mkdir -p "$new/cni" "$new/images" "$new/debs"

say "unpacking containerd, runc, the CNI plugins and Prometheus"
(
  cd "$new/debs"
  apt-get download -q -o APT::Sandbox::User=root containerd runc containernetworking-plugins prometheus >/dev/null
  for package in *.deb; do dpkg -x "$package" root; done
  cp root/usr/bin/{containerd,containerd-shim-runc-v2,ctr,prometheus,promtool} root/usr/sbin/runc "$new/"
  cp root/usr/lib/cni/{bridge,host-local,loopback,portmap} "$new/cni/"
)
rm -rf "$new/debs"

# shellcheck source=tests/cluster/version.sh
source ./version.sh
say "building kubelet, kube-scheduler and kube-proxy $version, and CoreDNS, once (about 5 minutes on 2 cores)"
go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$new/" k8s.io/kubernetes/cmd/{kubelet,kube-scheduler,kube-proxy}
CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$new/load" ./node/load
(cd node/dns && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$new/root-of-dns/coredns" .)
node/image.py --name registry.k8s.io/coredns/coredns:v1.12.2 --user 0:0 --entrypoint /coredns \
  "$new/root-of-dns" "$new/images/coredns.tar"
mkdir "$new/root-of-pause"
gcc -Os -static -DVERSION=3.10.1 -o "$new/root-of-pause/pause" \
  "$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c"
node/image.py --name registry.k8s.io/pause:3.10.1 --user 65535:65535 --entrypoint /pause \
  "$new/root-of-pause" "$new/images/pause.tar"
rm -r "$new"/root-of-*

cp bin/{etcd,kube-apiserver,kube-controller-manager,kubectl} "$new/"
mv "$new"/* "$home/"
rmdir "$new"
touch "$home/complete" # Last: an interrupted build is never taken for a finished one.
say "built in $SECONDS s"
echo "$home"

#!/usr/bin/env bash
# The first process of the node, started by up.sh: mounts, network, and then everything that a node runs.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
state=$1
bin=$state/bin
address=10.243.0.2
server=https://$address:6443
export PATH=$bin:$PATH
cd "$state"
mkdir -p pki kubelet containerd cni
trap 'touch "$state/failed"' ERR

# Its own /sys, cgroups, /run, /var/lib and /var/log: nothing is written to the machine's. The machine's cgroups must go
# first, or the kubelet would see both.
umount -R -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while IFS=: read -r _ controllers _; do
  [[ $controllers ]] || continue
  mkdir "/sys/fs/cgroup/${controllers#name=}"
  mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/${controllers#name=}"
done </proc/self/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/kubelet
mount --bind kubelet /var/lib/kubelet
mount --bind log /var/log
mount --make-rshared /
hostname node1

# A veth whose other end goes nowhere holds the node's address and the default route.
ip link set lo up
ip link add node0 type veth peer name node0p
ip link set node0p up
ip addr add "$address/24" dev node0
ip link set node0 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "nameserver $address" >resolv.conf

openssl genrsa -out pki/service-account.key 2048 2>/dev/null
cat >pki/tokens.csv <<K
admin-token,admin,admin,system:masters
node-token,system:node:node1,node1,system:nodes
controllers-token,system:kube-controller-manager,controllers
scheduler-token,system:kube-scheduler,scheduler
proxy-token,system:kube-proxy,proxy
K
for user in admin node controllers scheduler proxy; do
  cat >"$user.kubeconfig" <<K
apiVersion: v1
kind: Config
current-context: node
clusters: [{name: node, cluster: {server: "$server", certificate-authority: $state/pki/apiserver.crt}}]
users: [{name: $user, user: {token: $user-token}}]
contexts: [{name: node, context: {cluster: node, user: $user}}]
K
done
mv admin.kubeconfig kubeconfig
export KUBECONFIG=$state/kubeconfig

run() {
  "$@" >"log/$1.log" 2>&1 &
}

run etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level error
# The certificate that it makes for itself names 10.96.0.1 and its address, and serves as the authority too.
run kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir pki --secure-port 6443 --bind-address 0.0.0.0 \
  --advertise-address "$address" --service-cluster-ip-range 10.96.0.0/16 --allow-privileged \
  --service-account-key-file pki/service-account.key --service-account-signing-key-file pki/service-account.key \
  --service-account-issuer https://kubernetes.default.svc --token-auth-file pki/tokens.csv \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --kubelet-preferred-address-types InternalIP

# restrict_oom_score_adj: a root without CAP_SYS_RESOURCE may not lower anything's score, and runc would fail at it.
cat >containerd.toml <<K
version = 2
root = "$state/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10.1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$bin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$bin/cni"
    conf_dir = "$state/cni"
K
# isDefaultGateway, or pods would reach no ClusterIP.
cat >cni/10-node.conflist <<K
{"cniVersion": "1.0.0", "name": "node", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "10.244.0.0/24"}]]}}]}
K
run containerd -c containerd.toml
export CONTAINERD_ADDRESS=/run/containerd/containerd.sock CONTAINERD_NAMESPACE=k8s.io
until ctr version >/dev/null 2>&1; do sleep 0.1; done
for image in "$bin"/images/*.tar; do ctr images import "$image" >/dev/null; done

until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
cat >kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: $state/resolv.conf
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
K
run kubelet --config kubelet.yaml --kubeconfig node.kubeconfig --node-ip "$address" --hostname-override node1
# At the default 20 requests a second it would take 5 s to make its service accounts.
run kube-controller-manager --kubeconfig controllers.kubeconfig --leader-elect=false --use-service-account-credentials \
  --kube-api-qps 500 --kube-api-burst 500 --root-ca-file pki/apiserver.crt \
  --service-account-private-key-file pki/service-account.key --secure-port 0 --node-monitor-grace-period 3m
run kube-scheduler --kubeconfig scheduler.kubeconfig --leader-elect=false --secure-port 0
run kube-proxy --kubeconfig proxy.kubeconfig --proxy-mode nftables --hostname-override node1 \
  --cluster-cidr 10.244.0.0/16 --conntrack-max-per-core 0 --oom-score-adj 0
kubectl apply -f "$here/dns.yaml" >/dev/null
until kubectl wait --for=condition=Ready node/node1 --timeout=60s >/dev/null 2>&1; do sleep 0.1; done
until kubectl -n default get serviceaccount default >/dev/null 2>&1; do sleep 0.1; done
trap - ERR
touch ready
set +e
while :; do
  wait -n # Reaps what containers leave to the first process.
  sleep 1
done

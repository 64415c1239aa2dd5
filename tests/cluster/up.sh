#!/usr/bin/env bash
# Runs etcd, kube-apiserver and kube-controller-manager from BIN (the folder build.sh fills) with their
# state, logs and credentials in STATE, and stays in the foreground. When the API server is ready it
# prints the path of an administrator's kubeconfig, STATE/kubeconfig; the file appears no earlier.
#
#   tests/cluster/up.sh BIN STATE              until Ctrl-C or SIGTERM; STATE is kept
#   tests/cluster/up.sh --until-eof BIN STATE  also ends when standard input closes, then removes STATE
#
# The second form is how tests run it: standard input is a pipe from the test process, so that however
# that process ends, nothing is left behind. HEADGATE_TEST_KEEP=1 keeps STATE for a look at the logs.
set -euo pipefail

until_eof=
if [[ ${1-} == --until-eof ]]; then
  until_eof=yes
  shift
fi
if [[ $# != 2 ]]; then
  echo "usage: ${0##*/} [--until-eof] BIN STATE" >&2
  exit 2
fi
for program in etcd kube-apiserver kube-controller-manager kubectl; do
  if [[ ! -x $1/$program ]]; then
    echo "${0##*/}: $1/$program is missing: run tests/run or tests/cluster/build.sh" >&2
    exit 2
  fi
done
if [[ $until_eof && -e $2 ]]; then
  echo "${0##*/}: $2 exists, and --until-eof removes what it is given" >&2
  exit 2
fi
bin=$(realpath "$1")
mkdir -p "$2"
cd "$2"
state=$PWD

pids=()
tear_down() {
  # The API server before etcd: one whose etcd has gone hangs. SIGKILL, because nothing here is worth
  # an orderly stop, and the next run should not wait for one.
  exec 2>/dev/null # The shell reports each one it kills.
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill -KILL "${pids[i]}" || true; done
  wait
  rm -f kubeconfig
  if [[ $until_eof && -z ${HEADGATE_TEST_KEEP-} ]]; then
    cd / && rm -rf "$state"
  fi
}
trap tear_down EXIT
trap 'exit 0' INT TERM HUP

# A session of its own keeps the terminal's Ctrl-C from the program, so that the order above holds;
# the death signal ends it even when this script is killed outright.
start() {
  local log=$1.log
  shift
  setpriv --pdeathsig KILL setsid "$@" >"$log" 2>&1 </dev/null 3<&- &
  pids+=($!)
}

# Ports under the ephemeral range, so that no test that binds port 0 can be given one in between.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}

fail() {
  echo "${0##*/}: $1" >&2
  tail -n 15 "$state"/*.log >&2
  exit 1
}

exec 3<&0
if [[ $until_eof ]]; then
  cat <&3 >/dev/null &
  pids+=($!)
fi

rm -rf pki kubeconfig
mkdir pki
openssl ecparam -name prime256v1 -genkey -noout -out pki/service-account.key
token=$(openssl rand -hex 16)
echo "$token,admin,admin,system:masters" >pki/tokens.csv
port=$(free_port)
server=https://127.0.0.1:$port

# Sockets, not ports: etcd has one client, on this machine. Relative, for a socket's path is at most 107 bytes long.
start etcd "$bin/etcd" --data-dir etcd --log-level error --unsafe-no-fsync \
  --listen-client-urls unix://etcd.sock --advertise-client-urls unix://etcd.sock --listen-peer-urls unix://peer.sock

api=(
  "$bin/kube-apiserver" --etcd-servers unix://etcd.sock --cert-dir pki
  --bind-address 127.0.0.1 --secure-port "$port" --service-cluster-ip-range 10.96.0.0/16
  --token-auth-file pki/tokens.csv --authorization-mode RBAC
  --service-account-issuer https://kubernetes.default.svc
  --service-account-key-file pki/service-account.key --service-account-signing-key-file pki/service-account.key
  # It refuses a Pod until its namespace has a ServiceAccount, which a controller that does not run would make.
  --disable-admission-plugins ServiceAccount
)
# A namespace made by tests/run has no default route to guess the advertised address from.
if [[ -z $(ip -4 route show default) ]]; then api+=(--advertise-address 10.244.0.1); fi
start apiserver "${api[@]}"

for ((tries = 0; ; tries++)); do
  if [[ -s pki/apiserver.crt ]]; then
    cat >kubeconfig.new <<K
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 pki/apiserver.crt)}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
K
    "$bin/kubectl" --kubeconfig kubeconfig.new get --raw /readyz >/dev/null 2>&1 && break
  fi
  for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || fail "a process ended before the API server was ready"; done
  ((tries < 600)) || fail "the API server is not ready after a minute"
  sleep 0.1
done

mv kubeconfig.new kubeconfig
start controller-manager "$bin/kube-controller-manager" --kubeconfig kubeconfig --secure-port 0 --leader-elect=false \
  --controllers endpointslice-controller,namespace-controller,garbage-collector-controller
echo "$state/kubeconfig"
# Standard input has closed, or one of the three has died; without it there is no control plane.
wait -n "${pids[@]}" || true

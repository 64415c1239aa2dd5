"""The chart, as people install it: every set of sets.yaml works with both Helms and passes the checks of others, and every
mistake of wrong.yaml is refused in words that help."""

import functools
import json
import os
import pathlib
import re
import subprocess

import kubernetes_validate
import pytest
import yaml

import generate

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHART = ROOT / "charts/headgate"
TOOLS = pathlib.Path(os.environ["HEADGATE_TOOLS_DIR"])
HELMS = ["helm3", "helm4"]
SETS = yaml.safe_load((HERE / "sets.yaml").read_text())
SETS["kind"] = yaml.safe_load((ROOT / "manifests/kind-values.yaml").read_text())
WRONG = yaml.safe_load((HERE / "wrong.yaml").read_text())
# The oldest and the newest Kubernetes that the chart is for, as far as there are schemas.
KUBERNETES = ["1.30.0", "1.37.0"]
GOLDEN = ["defaults", "daemonset-host-ports", "namespaced-elsewhere", "secrets-in-namespaces", "redis-cluster-with-tls", "extras"]
# Kinds whose schema is not Kubernetes' own.
FOREIGN = {"CustomResourceDefinition", "ServiceMonitor", "PodMonitor", "PrometheusRule"}


def helm(which, *arguments, values):
    command = [TOOLS / which, *arguments, "--values", "-"]
    if arguments[0] == "template":
        # Without a cluster Helm takes itself for as old a Kubernetes as it is.
        command += ["--kube-version", "1.33.0"]
    return subprocess.run(command, input=json.dumps(values), text=True, capture_output=True, check=False)


@functools.cache
def text(name, which="helm4"):
    """What a set renders to."""
    done = helm(which, "template", "edge", CHART, "--namespace", "headgate", values=SETS[name])
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def objects(name, which="helm4"):
    return [document for document in yaml.safe_load_all(text(name, which)) if document]


def find(name, kind):
    return [document for document in objects(name) if document["kind"] == kind]


def pods(name):
    return [document["spec"]["template"]["spec"] for document in objects(name) if document["kind"] in ("Deployment", "DaemonSet")]


def test_there_are_enough_sets():
    assert len(SETS) >= 25 and len(WRONG) >= 20


@pytest.mark.parametrize("name", SETS)
def test_lint(name):
    done = helm("helm4", "lint", CHART, "--strict", "--quiet", values=SETS[name])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SETS)
def test_both_helms_render_the_same(name):
    assert objects(name, "helm3") == objects(name, "helm4")


@pytest.mark.parametrize("name", SETS)
def test_kubernetes_knows_every_field(name):
    for document in objects(name):
        if document["kind"] not in FOREIGN:
            for version in KUBERNETES:
                kubernetes_validate.validate(document, version, strict=True)


def test_checkov_finds_nothing(tmp_path):
    for name in SETS:
        documents = [document for document in objects(name) if document["kind"] != "CustomResourceDefinition"]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(documents))
    command = [TOOLS / "venv/bin/python", "-m", "checkov.main", "--directory", tmp_path, "--output", "json"]
    command += ["--config-file", HERE / "checkov.yaml"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    found = json.loads(done.stdout)
    # The pod of `helm test` runs once and ends: there is nothing to probe.
    def once(check):
        return check["check_id"] in ("CKV_K8S_8", "CKV_K8S_9") and re.fullmatch(r"Pod\..*-test", check["resource"])

    failed = [check for check in found["results"]["failed_checks"] if not once(check)]
    assert not failed, [(check["check_id"], check["check_name"], check["file_path"], check["resource"]) for check in failed]
    assert found["summary"]["passed"] > 1000 and found["summary"]["parsing_errors"] == 0, found["summary"]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: json.dumps(wrong["values"]))
def test_mistakes_are_refused_in_words_that_help(wrong):
    done = helm("helm4", "template", "edge", CHART, "--namespace", "headgate", values=wrong["values"])
    assert done.returncode != 0, "it was taken"
    for part in wrong["says"]:
        assert part in done.stderr
    assert helm("helm3", "template", "edge", CHART, "--namespace", "headgate", values=wrong["values"]).returncode != 0


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    """`tests/chart/run --write` rewrites them, for review."""
    path = HERE / "golden" / f"{name}.yaml"
    # The CRDs are compared with crds/ byte for byte elsewhere.
    documents = re.split(r"^---\n", text(name), flags=re.MULTILINE)
    rendered = "---\n".join(document for document in documents if "kind: CustomResourceDefinition" not in document)
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(rendered)
    assert rendered == path.read_text()


def test_crds_are_those_of_the_project():
    for keep in ("defaults", "crds-that-go"):
        rendered = {crd["metadata"]["name"]: crd for crd in find(keep, "CustomResourceDefinition")}
        files = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
        assert set(rendered) == {crd["metadata"]["name"] for crd in files} and len(files) == 2
        for crd in files:
            metadata, before = rendered[crd["metadata"]["name"]].pop("metadata"), crd.pop("metadata")
            assert metadata.get("annotations") == ({"helm.sh/resource-policy": "keep"} if keep == "defaults" else None)
            assert before.get("labels", {}).items() <= metadata["labels"].items()
            assert rendered[metadata["name"]] == crd
    # Helm reads numbers as floating point; written so, the API server would take none of them for a whole one.
    assert not re.search(r": [0-9.]+e[+]?[0-9]", text("defaults"))


def test_restricted_pod_security():
    """The Pod Security Standard `restricted`, rule by rule; sets that take the node's ports or network ask for less."""
    for name in SETS:
        if name in ("daemonset-host-ports", "host-network"):
            continue
        for pod in pods(name):
            assert not any(pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC"))
            assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 65532
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
                assert context["capabilities"] == {"drop": ["ALL"]}


def test_flags_are_those_of_the_program():
    """docs/reference.md has every flag of `headgate serve`, and a test of the program compares that."""
    reference = (ROOT / "docs/reference.md").read_text()
    section = reference.split("## headgate serve\n")[1].split("\n## ")[0]
    known = set(re.findall(r"^\| `(--[a-z-]+)", section, flags=re.MULTILINE))
    assert len(known) > 10
    for name in SETS:
        for pod in pods(name):
            arguments = pod["containers"][0]["args"]
            assert arguments[0] == "serve"
            assert {argument.split("=")[0] for argument in arguments[1:]} <= known, name


def test_a_stop_agrees_with_the_program():
    for name in SETS:
        for pod in pods(name):
            flags = dict(argument.split("=", 1) for argument in pod["containers"][0]["args"][1:])
            drain = sum(int(flags[flag].removesuffix("s")) for flag in ("--drain-delay", "--drain-timeout"))
            assert pod["terminationGracePeriodSeconds"] >= drain + 15
            probe = pod["containers"][0]["readinessProbe"]
            assert probe["httpGet"] == {"path": "/readyz", "port": "admin"}
            # A pod that is stopped is out of every Service before it stops accepting.
            assert probe["periodSeconds"] * (probe["failureThreshold"] + 1) < int(flags["--drain-delay"].removesuffix("s"))


def test_replicas_are_the_autoscalers():
    assert "replicas" not in find("autoscaling", "Deployment")[0]["spec"]
    assert "replicas" not in find("replicas-left-alone", "Deployment")[0]["spec"]
    assert find("defaults", "Deployment")[0]["spec"]["replicas"] == 2


def test_rollouts_never_have_one_pod_less():
    for name in SETS:
        for workload in find(name, "Deployment") + find(name, "DaemonSet"):
            strategy = workload["spec"].get("strategy") or workload["spec"]["updateStrategy"]
            on_node = name in ("daemonset-host-ports", "host-network")
            assert strategy["rollingUpdate"] == {"maxUnavailable": int(on_node), "maxSurge": int(not on_node)}


def test_selectors_never_change():
    """They are immutable, so nothing that an upgrade changes may be in them; and `helm test`'s pod is not selected."""
    for name in SETS:
        for workload in find(name, "Deployment") + find(name, "DaemonSet"):
            selector = workload["spec"]["selector"]["matchLabels"]
            assert selector == {"app.kubernetes.io/name": "headgate", "app.kubernetes.io/instance": "edge"}
            assert selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        for pod in find(name, "Pod"):
            assert pod["metadata"]["labels"]["app.kubernetes.io/name"] != "headgate"


READ = {"get", "list", "watch"}


def rules(name, kinds=("ClusterRole", "Role")):
    """(scope, group/resource, names, verbs) of everything that the service account is bound to."""
    roles = {(role["kind"], role["metadata"]["name"], role["metadata"].get("namespace")): role for kind in kinds for role in find(name, kind)}
    for binding in find(name, "ClusterRoleBinding") + find(name, "RoleBinding"):
        namespace = binding["metadata"].get("namespace")
        role = roles[(binding["roleRef"]["kind"], binding["roleRef"]["name"], namespace)]
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield namespace, f"{group}/{resource}", tuple(rule.get("resourceNames", ())), frozenset(rule["verbs"])


READS = {
    "networking.k8s.io/ingresses", "headgate.dev/gatewayroutes", "headgate.dev/ratelimitpolicies", "/services",
    "gateway.networking.k8s.io/referencegrants", "discovery.k8s.io/endpointslices",
}
WRITES = {
    ("networking.k8s.io/ingresses/status", "patch"), ("headgate.dev/gatewayroutes/status", "patch"),
    ("headgate.dev/ratelimitpolicies/status", "patch"), ("events.k8s.io/events", "create"),
}
LEASES = [
    ("headgate", "coordination.k8s.io/leases", (), frozenset({"create"})),
    ("headgate", "coordination.k8s.io/leases", ("headgate-leader",), frozenset({"get", "update"})),
]
CLASSES = (None, "networking.k8s.io/ingressclasses", (), frozenset(READ))


def watched(namespace):
    yield from ((namespace, resource, (), frozenset(READ)) for resource in READS)
    yield from ((namespace, resource, (), frozenset({verb})) for resource, verb in WRITES)


def values(namespace, *resources):
    yield from ((namespace, f"/{resource}", (), frozenset(READ)) for resource in resources)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("defaults", [*watched(None), CLASSES, *LEASES, *values(None, "secrets", "configmaps")]),
        ("no-secrets", [*watched(None), CLASSES, *LEASES, *values(None, "configmaps")]),
        ("no-config-maps", [*watched(None), CLASSES, *LEASES, *values(None, "secrets")]),
        ("secrets-in-namespaces", [
            *watched(None), CLASSES, *LEASES, *values(None, "configmaps"),
            ("shop", "/secrets", (), frozenset({"get"})), ("blog", "/secrets", (), frozenset({"get"})),
        ]),
        ("config-maps-in-namespaces", [
            *watched(None), CLASSES, *LEASES, *values(None, "secrets"), *values("shop", "configmaps"),
        ]),
        ("namespaced", [*watched("headgate"), CLASSES, *LEASES, *values("headgate", "secrets", "configmaps")]),
        ("namespaced-elsewhere", [
            *watched("team-a"), CLASSES, *LEASES, *values("team-a", "secrets", "configmaps"),
        ]),
        ("no-rbac", []),
    ],
)
def test_rights_are_exactly_these(name, expected):
    assert sorted(rules(name), key=str) == sorted(expected, key=str)


def test_every_value_is_used():
    """A value that no template reads would be taken and do nothing."""
    templates = "\n".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    unused = []
    for value in generate.values((CHART / "values.yaml").read_text()):
        leaf, whole = value.path[-1], ".".join(value.path)
        if f".Values.{whole}" not in templates and not re.search(rf'[.$"]{leaf}\b', templates):
            unused.append(whole)
    assert not unused


def test_alerts_and_dashboard_are_the_files():
    rule = find("alerts-and-dashboard", "PrometheusRule")[0]
    groups = yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]
    assert rule["spec"]["groups"][:-1] == groups and rule["spec"]["groups"][-1]["name"] == "headgate-extra"
    board = find("alerts-and-dashboard", "ConfigMap")[0]
    assert json.loads(board["data"]["headgate.json"]) == json.loads((CHART / "files/dashboard.json").read_text())
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_values_are_few():
    assert len((CHART / "values.yaml").read_text().splitlines()) < 250


def notes(values):
    """What NOTES.txt says. Helm shows it only where there is a cluster, so an extra object carries it."""
    carrier = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata: {notes: {{ include "headgate.notes" . | toJson }}}'
    values = {**values, "extraObjects": [carrier]}
    done = helm("helm4", "template", "edge", CHART, "--namespace", "headgate", values=values)
    assert done.returncode == 0, done.stderr
    return next(o for o in yaml.safe_load_all(done.stdout) if o and o["metadata"]["name"] == "notes")["data"]["notes"]


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ({}, []),
        ({"replicaCount": 1}, ["one replica"]),
        ({"replicaCount": 1, "service": {"externalTrafficPolicy": "Local"}}, ["one replica", "externalTrafficPolicy is Local"]),
        ({"hostNetwork": True, "autoscaling": {"enabled": True}}, ["hostNetwork allows one pod"]),
        ({"rbac": {"secrets": "None"}}, ["rbac.secrets is None"]),
        ({"ingressClass": {"enabled": False}}, ["no IngressClass"]),
        ({"crds": {"enabled": False}}, ["CRDs are not part"]),
    ],
)
def test_notes_warn_only_where_due(values, warnings):
    told = notes(values)
    assert told.count("WARNING") == len(warnings)
    for warning in warnings:
        assert warning in told


@pytest.mark.parametrize(
    ("service", "shown"),
    [("LoadBalancer", "EXTERNAL-IP"), ("NodePort", "nodePort"), ("ClusterIP", "port-forward service/edge-headgate")],
)
def test_notes_say_how_to_reach_it(service, shown):
    assert shown in notes({"service": {"type": service}})


def test_dockerfile():
    done = subprocess.run([TOOLS / "venv/bin/hadolint", ROOT / "Dockerfile"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout

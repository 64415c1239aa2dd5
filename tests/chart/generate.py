#!/usr/bin/env python3
"""Writes what follows from charts/headgate/values.yaml, crds/ and the chart: the strict schema, the table of values, the
chart's copy of the CRDs, and manifests/. With --check it writes nothing and tells what is out of date.

    generate.py [--check] [--helm HELM]
"""

import argparse
import json
import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/headgate"
BEGIN, END = "<!-- values: generated from values.yaml -->\n", "<!-- end of values -->\n"


class Value:
    """A value that users set: its path, its default, and what it is for."""

    def __init__(self, path, default, text):
        self.path, self.default, self.text = path, default, text


def values(text):
    """Every value with a `# --` comment, beside it or above it, in the order of the file."""
    lines = text.splitlines()
    found = []

    def comment(node):
        line = node.start_mark.line
        if "# -- " in lines[line]:
            return lines[line].split("# -- ", 1)[1]
        above = lines[line - 1].strip()
        return above.removeprefix("# -- ") if above.startswith("# -- ") else None

    def walk(node, path):
        for key, value in node.value:
            here = [*path, key.value]
            text = comment(key)
            if text is None and isinstance(value, yaml.MappingNode) and value.value:
                walk(value, here)
            else:
                found.append(Value(here, plain(value), text))

    def plain(node):
        return yaml.safe_load(yaml.serialize(node))

    walk(yaml.compose(text), [])
    return found


# === Schema

PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "integer", "minimum": 0, "maximum": 3600}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
SERVICE_TYPE = {"enum": ["LoadBalancer", "NodePort", "ClusterIP"]}
TRAFFIC_POLICY = {"enum": ["", "Cluster", "Local"]}
NAME = {"type": "string", "maxLength": 253, "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"}
NAMESPACE = {"type": "string", "maxLength": 63, "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"}
STRINGS = {"type": "array", "items": {"type": "string"}}
CIDRS = {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$"}}
AMOUNT = {"type": ["integer", "string", "null"], "pattern": "^[0-9]+%?$", "minimum": 0}

# What a default does not say about a value. `null` is added where the default is null.
NARROWER = {
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "namespaceOverride": NAMESPACE,
    "kind": {"enum": ["Deployment", "DaemonSet"]},
    "replicaCount": {"type": ["integer", "null"], "minimum": 0},
    "shutdown.delaySeconds": SECONDS,
    "shutdown.timeoutSeconds": SECONDS,
    "terminationGracePeriodSeconds": SECONDS,
    "workers": {"type": "integer", "minimum": 1, "maximum": 1024},
    "autoscaling.minReplicas": {"type": "integer", "minimum": 1},
    "autoscaling.maxReplicas": {"type": "integer", "minimum": 1},
    "autoscaling.targetCPUUtilizationPercentage": {"type": ["integer", "null"], "minimum": 1},
    "autoscaling.targetMemoryUtilizationPercentage": {"type": "integer", "minimum": 1},
    "podDisruptionBudget.enabled": {"type": "boolean"},
    "podDisruptionBudget.minAvailable": AMOUNT,
    "podDisruptionBudget.maxUnavailable": AMOUNT,
    "podDisruptionBudget.unhealthyPodEvictionPolicy": {"enum": ["", "AlwaysAllow", "IfHealthyBudget"]},
    "topologySpreadConstraints": {"type": "array", "items": {"type": "object"}},
    "serviceAccount.name": NAME,
    "rbac.scope": {"enum": ["Cluster", "Namespaced"]},
    "rbac.secrets": {"enum": ["Cluster", "Namespaces", "None"]},
    "rbac.secretNamespaces": {"type": "array", "items": {**NAMESPACE, "minLength": 1}, "uniqueItems": True},
    "rbac.configMaps": {"enum": ["Cluster", "Namespaces", "None"]},
    "rbac.configMapNamespaces": {"type": "array", "items": {**NAMESPACE, "minLength": 1}, "uniqueItems": True},
    "rbac.aggregateTo": {"type": "array", "items": {"enum": ["admin", "edit", "view"]}, "uniqueItems": True},
    "ingressClass.name": {**NAME, "minLength": 1},
    "watch.namespace": NAMESPACE,
    "publishService.pathOverride": {"type": "string", "pattern": "^([^/]+/[^/]+)?$"},
    "listeners.http.port": PORT,
    "listeners.http.exposedPort": {**PORT, "type": ["integer", "null"]},
    "listeners.http.hostPort": PORT,
    "listeners.https.port": PORT,
    "listeners.https.exposedPort": {**PORT, "type": ["integer", "null"]},
    "listeners.https.hostPort": PORT,
    "dnsPolicy": {"enum": ["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]},
    "service.type": SERVICE_TYPE,
    "service.externalTrafficPolicy": TRAFFIC_POLICY,
    "service.internalTrafficPolicy": TRAFFIC_POLICY,
    "service.ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "service.ipFamilies": {"type": "array", "items": {"enum": ["IPv4", "IPv6"]}},
    "service.sessionAffinity": {"enum": ["", "None", "ClientIP"]},
    "service.loadBalancerSourceRanges": CIDRS,
    "service.externalIPs": STRINGS,
    "service.nodePorts.http": PORT,
    "service.nodePorts.https": PORT,
    "service.internal.type": SERVICE_TYPE,
    "service.internal.externalTrafficPolicy": TRAFFIC_POLICY,
    "service.internal.loadBalancerSourceRanges": CIDRS,
    "logs.format": {"enum": ["json", "human"]},
    "redis.endpoints": {"type": "array", "items": {"type": "string", "pattern": "^rediss?://[^@]+$"}},
    "redis.timeout": DURATION,
    "redis.prefix": {"type": "string", "minLength": 1, "pattern": "^[^{}]+$"},
    "accessLog": {"type": "string", "pattern": "^(off$|json|combined|nginx|text:|file=|status=|min-duration=|sample=|query=)"},
    "tracing.otlpEndpoint": {"type": "string", "pattern": "^(https?://.+)?$"},
    "tracing.protocol": {"enum": ["", "http/protobuf", "grpc"]},
    "tracing.sampleRatio": {"type": "number", "minimum": 0, "maximum": 1},
    "forwardedHeaders.trustedIPs": CIDRS,
    "proxyProtocol.trustedIPs": CIDRS,
    "metrics.port": PORT,
    "metrics.serviceMonitor.interval": DURATION,
    "metrics.serviceMonitor.scrapeTimeout": DURATION,
    "metrics.podMonitor.interval": DURATION,
    "metrics.podMonitor.scrapeTimeout": DURATION,
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
    "livenessProbe": {"type": ["object", "null"]},
    "readinessProbe": {"type": ["object", "null"]},
    "startupProbe": {"type": ["object", "null"]},
}

# Names that other charts have for a value: whoever writes one is told ours.
FOREIGN = {
    "controller": "the same value without `controller.` in front",
    "deployment": "kind, replicaCount, podLabels, podAnnotations",
    "replicas": "replicaCount",
    "ports": "listeners",
    "env": "extraEnv",
    "extraEnvs": "extraEnv",
    "additionalArguments": "extraArgs",
    "ingressClassResource": "ingressClass",
    "providers": "ingressClass and watch",
    "installCRDs": "crds.enabled",
    "strategy": "updateStrategy",
    "containerSecurityContext": "securityContext",
    "log": "logs",
}


def schema(found):
    root = strict()
    for value in found:
        node = root
        for name in value.path[:-1]:
            node = node["properties"].setdefault(name, strict())
        node["properties"][value.path[-1]] = leaf(value)
    for name, ours in FOREIGN.items():
        root["properties"][name] = {"const": f"(this chart has {ours} instead)", "deprecated": True}
    # Helm puts it there for subcharts.
    root["properties"]["global"] = {"type": "object"}
    tell_names(root)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the Headgate chart", **root}


def strict():
    return {"type": "object", "additionalProperties": False, "properties": {}}


def tell_names(node):
    """The message for a wrong name then lists the right ones."""
    names = [name for name, inner in node["properties"].items() if "const" not in inner and name != "global"]
    also = [name for name in node["properties"] if name not in names]
    node["propertyNames"] = {"anyOf": [{"enum": names}, {"enum": also}]} if also else {"enum": names}
    for inner in node["properties"].values():
        if "properties" in inner:
            tell_names(inner)


def leaf(value):
    path, default = ".".join(value.path), value.default
    kinds = {str: "string", bool: "boolean", int: "integer", dict: "object", list: "array"}
    if path in NARROWER:
        node = dict(NARROWER[path])
    elif default is None:
        sys.exit(f"values.yaml: {path} is null, so generate.py must say what else it may be")
    else:
        node = {"type": kinds[type(default)]}
    if default is None and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
    return {"description": value.text, **node, "default": default}


# === Table

def table(found):
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for value in found:
        default = json.dumps(value.default, separators=(", ", ": "), ensure_ascii=False)
        rows.append(f"| `{'.'.join(value.path)}` | `{default}` | {value.text.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def readme(found):
    text = (CHART / "README.md").read_text()
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + table(found) + "\n" + END + rest.split(END)[1]


# === Manifests

NOTE = """\
# Rendered from charts/headgate with its default values by tests/chart/generate.py. Do not edit.
"""

# What each file shows of the chart, and by which values.
MANIFESTS = {
    "manifests/install.yaml": (
        "# The default install without Helm: kubectl create namespace headgate && kubectl apply --server-side -f crds/ -f manifests/install.yaml\n",
        {"crds": {"enabled": False}},
        None,
    ),
    "manifests/rbac.yaml": (
        "# What Headgate may do in a cluster, and nothing more. install.yaml has the same.\n",
        {},
        {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
    ),
}


def manifest(helm, note, wanted, kinds):
    command = [helm, "template", "headgate", CHART, "--namespace", "headgate", "--no-hooks", "--values", "-"]
    rendered = subprocess.run(
        command, input=json.dumps(wanted), text=True, capture_output=True, check=False, encoding="utf-8"
    )
    if rendered.returncode:
        sys.exit(rendered.stderr)
    documents = []
    for document in rendered.stdout.split("\n---\n"):
        document = document.removeprefix("---\n").strip("\n")
        content = yaml.safe_load(document)
        if not content or (kinds and content["kind"] not in kinds):
            continue
        lines = document.splitlines()
        # What Helm adds, and what only tells that Helm was here.
        drop = ("# Source: ", "    helm.sh/chart: ", "        helm.sh/chart: ", "    app.kubernetes.io/managed-by: Helm")
        lines = [line for line in lines if not line.startswith(drop) and "app.kubernetes.io/managed-by: Helm" not in line]
        lines = [line for line in lines if "helm.sh/chart: " not in line]
        documents.append("\n".join(lines) + "\n")
    return NOTE + note + "---\n".join(documents)


def outputs(helm):
    found = values((CHART / "values.yaml").read_text())
    if undocumented := [".".join(value.path) for value in found if not value.text]:
        sys.exit(f"values.yaml: without a `# --` comment: {', '.join(undocumented)}")
    yield CHART / "values.schema.json", json.dumps(schema(found), indent=1, ensure_ascii=False) + "\n"
    yield CHART / "README.md", readme(found)
    for crd in sorted((ROOT / "crds").glob("*.yaml")):
        yield CHART / "files/crds" / crd.name, crd.read_text()
    if helm:
        for path, (note, wanted, kinds) in MANIFESTS.items():
            yield ROOT / path, manifest(helm, note, wanted, kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is out of date")
    parser.add_argument("--helm", help="the helm program; without one, manifests/ is left alone")
    arguments = parser.parse_args()
    stale = []
    for path, text in outputs(arguments.helm):
        if path.exists() and path.read_text() == text:
            continue
        if arguments.check:
            stale.append(str(path.relative_to(ROOT)))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    known = {crd.name for crd in (ROOT / "crds").glob("*.yaml")}
    stale += [str(path.relative_to(ROOT)) for path in (CHART / "files/crds").glob("*") if path.name not in known]
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}\nrun tests/chart/run --write and commit what it writes")


if __name__ == "__main__":
    main()

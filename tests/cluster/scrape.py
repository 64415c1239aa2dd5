#!/usr/bin/env python3
"""Turns a ServiceMonitor into a configuration of Prometheus, as its operator and Kubernetes discovery do together (Debian's
Prometheus is built without the latter): scrape.py KUBECTL… <MONITOR"""

import json
import re
import subprocess
import sys

# The parts that matter, without a YAML library: the chart wrote the monitor, so it is known what it looks like.
text = sys.stdin.read()
namespace = re.search(r"matchNames: \[(.*)\]", text)[1]
labels = re.findall(r"^      (app\.\S+): (\S+)$", text, flags=re.MULTILINE)
port, path = (re.search(rf"{name}: (\S+)", text)[1] for name in ("port", "path"))
assert len(labels) == 3, labels

# A Service's labels are on its EndpointSlices too.
selector = ",".join(f"{name}={value}" for name, value in labels)
command = [*sys.argv[1:], "--namespace", namespace, "get", "endpointslices", "--selector", selector, "--output", "json"]
targets = [
    f"{address}:{there['port']}"
    for piece in json.loads(subprocess.check_output(command))["items"]
    for there in piece["ports"]
    if there["name"] == port
    for endpoint in piece["endpoints"]
    if endpoint["conditions"]["ready"]
    for address in endpoint["addresses"]
]
# How often is the operator's business; a test does not wait for it.
job = {"job_name": "headgate", "scrape_interval": "1s", "metrics_path": path, "static_configs": [{"targets": targets}]}
print(json.dumps({"scrape_configs": [job]}))

#!/usr/bin/env python3
"""Packs a folder as an image of one layer: an archive that `ctr images import` and `docker load` take. No daemon, no
registry, no network; the same folder gives the same bytes.

    image.py --name NAME:TAG [--user UID:GID] --entrypoint PATH [--command WORD]… FOLDER ARCHIVE
"""

import argparse
import hashlib
import io
import json
import pathlib
import tarfile


def clean(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", action="append", required=True)
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--entrypoint", required=True)
    parser.add_argument("--command", action="append", default=[])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("archive")
    wanted = parser.parse_args()

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(wanted.folder.rglob("*")):
            tar.add(path, path.relative_to(wanted.folder), recursive=False, filter=clean)
    layer = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": wanted.user, "Entrypoint": [wanted.entrypoint], "Cmd": wanted.command, "Env": ["PATH=/usr/local/bin:/"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": wanted.name, "Layers": ["layer.tar"]}]
    with tarfile.open(wanted.archive, mode="w") as tar:
        for name, content in [
            ("manifest.json", json.dumps(manifest).encode()),
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer),
        ]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A bill of materials (CycloneDX, JSON) is valid, and names what `cargo tree` says is in the program, nothing less, with licences.

    bill.py FILE
"""

import json
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

TREE = ["cargo", "tree", "--locked", "-p", "relay", "-e", "normal", "--prefix", "none", "--format", "{p}"]


def main(path):
    text = open(path, encoding="utf-8").read()
    wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if wrong:
        sys.exit(f"{path}: not CycloneDX 1.5: {wrong}")
    bill = json.loads(text)
    named = {(part["name"], part["version"]) for part in bill["components"]}
    lines = subprocess.run(TREE, check=True, capture_output=True, text=True).stdout.splitlines()
    linked = {(name, version.lstrip("v")) for name, version, *_ in (line.split() for line in lines if line)}
    missing = linked - named - {("relay", bill["metadata"]["component"]["version"])}
    if missing:
        sys.exit(f"{path}: lacks {sorted(missing)}")
    bare = [part["name"] for part in bill["components"] if not part.get("licenses")]
    if bare:
        sys.exit(f"{path}: no licence: {bare}")
    if "file:///" in text.replace("path+file:///relay#", ""):
        sys.exit(f"{path}: names a folder of this machine")
    print(f"valid CycloneDX 1.5: {len(named)} components, {len(linked)} packages linked, each with its licence")


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""Every library that is linked into the relay, with the licence it asks to be handed on with (MIT, BSD and others do).

    libraries.py --target x86_64-unknown-linux-gnu
"""

import argparse
import json
import pathlib
import subprocess
import sys

LICENCES = ("license", "licence", "copying", "copyright", "notice", "unlicense")


def linked(metadata, program):
    """The packages behind a program, build scripts and tests apart."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    waiting = [package["id"] for package in metadata["packages"] if package["name"] == program]
    seen = set(waiting)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    from_elsewhere = (packages[name] for name in seen if packages[name]["source"])
    return sorted(from_elsewhere, key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = (file for file in folder.iterdir() if file.is_file() and file.name.lower().startswith(LICENCES))
    return [(file.name, file.read_text(errors="replace").strip()) for file in sorted(files)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--target", required=True)
    target = arguments.parse_args().target
    command = ["cargo", "metadata", "--locked", "--features", "relay/nats", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = linked(metadata, "relay")
    print("Libraries that are part of the program, and their licences.\n")
    for package in packages:
        print(f"{package['name']} {package['version']}: {package['license'] or 'see below'}")
    # Most texts are the same but for nothing: each stands once.
    shown = {}
    for package in packages:
        for name, text in texts(package):
            shown.setdefault(" ".join(text.split()), (name, text, []))[2].append(package["name"])
    for name, text, users in shown.values():
        print(f"\n{'=' * 100}\n{name} of {', '.join(users)}\n\n{text}")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# Packages and what is promised of them; a step of `tests/run.sh --long`.
#
#   tests/packaging/run.sh                                             everything: an hour on two cores from nothing, half of it warm
#   tests/packaging/run.sh package deny bill twice debian aarch64      some of it
#
# package   the Debian package, twice as if there were a newer one; lintian has nothing to say
# deny      licences, forbidden crates and sources (deny.toml)
# bill      the bill of materials, against CycloneDX' schema
# twice     built again elsewhere: the same bytes
# debian    installed, called through, upgraded, removed in a Debian root; root only
# aarch64   compiles for it
set -euo pipefail
cd "$(dirname "$0")/../.."
. configs/deploy/tools.sh
steps=("$@")
((${#steps[@]})) || steps=(package deny bill twice debian aarch64)
out="$target/package"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
architecture="$(dpkg --print-architecture)"
deb() { echo "$out/relay_$version-$1_$architecture.deb"; }
step() { printf '\n== packages: %s\n' "$*"; }
# Programs of requirements.txt, in an environment of their own.
python() {
  if ! cmp -s tests/packaging/requirements.txt "$tools/python/requirements.txt"; then
    rm -rf "$tools/python"
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check -r tests/packaging/requirements.txt
    cp tests/packaging/requirements.txt "$tools/python/"
  fi
}

package() {
  step "made, and looked at by lintian"
  configs/deploy/package.sh --version "$version-2"
  configs/deploy/package.sh --version "$version-1"
  # As root its own root would not do.
  lintian --allow-root --fail-on error,warning "$(deb 1)"
}

deny() {
  step "licences, forbidden crates, sources"
  python
  cargo deny --locked --log-level error check --hide-inclusion-graph licenses bans sources
  # And it would say so: a licence that is in use is struck from the list.
  local stricter="$out/stricter.toml"
  sed '/"ISC"/d' deny.toml >"$stricter"
  local said
  said="$(cargo deny --locked --log-level error --config "$stricter" check --hide-inclusion-graph licenses 2>&1)" && said="nothing: it lets everything pass"
  if [[ $said != *"rejected: license is not explicitly allowed"* ]]; then
    echo "cargo-deny, asked about a licence that is not allowed, says $said" >&2
    return 1
  fi
}

bill() {
  step "the bill of materials against its schema"
  python
  "$tools/python/bin/python" tests/packaging/bill.py "$out/relay_$version-1.cdx.json"
}

twice() {
  step "built again elsewhere"
  tests/packaging/reproducible.sh "$out"
}

debian() {
  step "in a Debian root"
  if [[ $(id -u) != 0 ]]; then
    echo "left out: needs root"
    return
  fi
  tests/packaging/debian.sh "$(deb 1)" "$(deb 2)"
}

aarch64() {
  step "for aarch64"
  tests/packaging/aarch64.sh
}

mkdir -p "$out"
for name in "${steps[@]}"; do
  case "$name" in
    package|deny|bill|twice|debian|aarch64) "$name" ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0" ;;
    *) echo "packaging/run.sh: unknown step '$name'; try --help" >&2; exit 2 ;;
  esac
done

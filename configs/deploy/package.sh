#!/usr/bin/env bash
# Makes what is installed on a server: the Debian package, and its bill of materials (CycloneDX). Prints the path of the package.
#
#   configs/deploy/package.sh                        the version of Cargo.toml
#   configs/deploy/package.sh --version 0.2.0-1      another one
#   configs/deploy/package.sh --program FILE         of a program that is built already, and not by configs/deploy/build-release.sh
#
# Needs cargo; builds what else it needs (cargo-deb, cargo-cyclonedx) into target/tools once. The same sources and tools give the same
# package, byte for byte. DEBEMAIL and DEBFULLNAME name who makes the package, if they are set.
set -euo pipefail
cd "$(dirname "$0")/../.."
. configs/deploy/tools.sh

version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-1"
program=''
while (($#)); do
  case "$1" in
    --version) version="$2"; shift 2 ;;
    --program) program="$2"; shift 2 ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "package.sh: unknown argument '$1'; try --help" >&2; exit 2 ;;
  esac
done
cargo_tool cargo-deb 3.8.0
cargo_tool cargo-cyclonedx 0.5.9

export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}"
maintainer="${DEBFULLNAME:-the authors of this project} <${DEBEMAIL:-relay@packages.invalid}>"
out="$target/package" build="$target/package/build"
mkdir -p "$out"
if [[ -n $program ]]; then
  build="$out/given"
  mkdir -p "$build/release"
  cp "$program" "$build/release/relay"
else
  configs/deploy/build-release.sh --quiet --target-dir "$build"
fi
relay="$build/release/relay"
# What is installed must start as it is.
"$relay" check --config configs/deploy/debian/relay.toml >/dev/null
host="$(rustc -vV | sed -n 's/^host: //p')"

# What the package holds besides the program and files of the tree. cargo-deb knows the folder as target/release/package.
stage="$build/release/package"
rm -rf "$stage"
mkdir -p "$stage"/{man,doc}
"$relay" man --output "$stage/man"
gzip -9n "$stage"/man/*
"$relay" completions bash >"$stage/relay"
"$relay" completions zsh >"$stage/_relay"
"$relay" completions fish >"$stage/relay.fish"
gzip -9nc CHANGELOG.md >"$stage/doc/changelog.gz"
gzip -9nc configs/relay.toml >"$stage/relay.toml.gz"
configs/deploy/libraries.py --target "$host" | gzip -9n >"$stage/doc/libraries.txt.gz"
gzip -9n >"$stage/doc/changelog.Debian.gz" <<END
relay ($version) stable; urgency=medium

  * What changed: /usr/share/doc/relay/changelog.gz

 -- $maintainer  $(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')
END

# cargo-cyclonedx writes beside each Cargo.toml, so it is shown a copy.
copy="$out/sources"
rm -rf "$copy"
mkdir -p "$copy"
{ git ls-files --cached --others --exclude-standard -z 2>/dev/null || find . -path ./target -prune -o -type f -print0; } |
  tar --null --files-from=- --create | tar --extract --directory "$copy"
(cd "$copy/relay" && cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --features nats --target "$host" --no-build-deps)
deb="$out/relay_${version}_$(dpkg --print-architecture).deb"
# The folder of the copy has no business in there.
sed "s|path+file://$copy/|path+file:///|" "$copy/relay/relay_bin.cdx.json" >"$out/relay_$version.cdx.json"
gzip -9nc "$out/relay_$version.cdx.json" >"$stage/doc/relay.cdx.json.gz"
rm -rf "$copy"

CARGO_TARGET_DIR="$build" cargo deb --quiet --no-build --strip --package relay --deb-version "$version" --maintainer "$maintainer" --output "$deb" >/dev/null
(cd "$out" && sha256sum "${deb##*/}" "relay_$version.cdx.json" >"relay_$version.sha256")
echo "$deb"

#!/usr/bin/env bash
# Two builds of the same sources, in two folders with two target directories: the same program, package and bill of materials, byte for byte.
#
#   tests/packaging/reproducible.sh DIR      DIR is where configs/deploy/package.sh has left its files: the first build
set -euo pipefail
first="$(realpath "$1")"
cd "$(dirname "$0")/../.."
. configs/deploy/tools.sh

other="$(mktemp -d)"
trap 'rm -rf "$other"' EXIT
mkdir -p "$other/somewhere/else"
{ git ls-files --cached --others --exclude-standard -z 2>/dev/null || find . -path ./target -prune -o -type f -print0; } |
  tar --null --files-from=- --create | tar --extract --directory "$other/somewhere/else"
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}"
export SOURCE_DATE_EPOCH
# The tools are the first build's, by their place on PATH.
CARGO_TARGET_DIR="$other/out" "$other/somewhere/else/configs/deploy/package.sh" >/dev/null

same=0
for file in build/release/relay $(cd "$other/out/package" && echo ./*.deb ./*.cdx.json); do
  hashes=("$(sha256sum <"$first/$file")" "$(sha256sum <"$other/out/package/$file")")
  if [[ ${hashes[0]} == "${hashes[1]}" ]]; then
    echo "the same twice: ${file##*/} ${hashes[0]%% *}"
  else
    echo "differs: ${file##*/} ${hashes[*]%% *}" >&2
    cp "$other/out/package/$file" "$first/${file##*/}.other"
    same=1
  fi
done
if grep -aq -e "$PWD" -e "$other" -e "$HOME/" "$first/build/release/relay"; then
  echo "the program names a folder of this machine" >&2
  same=1
fi
exit "$same"

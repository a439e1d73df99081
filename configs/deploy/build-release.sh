#!/usr/bin/env bash
# The release build of the relay: the same sources and the same compiler give the same bytes, wherever they lie.
#
#   configs/deploy/build-release.sh                          target/release/relay
#   configs/deploy/build-release.sh --target-dir /tmp/out    whatever else `cargo build` takes
#
# Without it the binary names the folders it was built in (panics, debug information), which differ from machine to machine.
set -euo pipefail
source="$(cd "$(dirname "$0")/../.." && pwd -P)"
cargo_home="$(cd "${CARGO_HOME:-$HOME/.cargo}" && pwd -P)"
sysroot="$(cd "$(rustc --print sysroot)" && pwd -P)"
commit="$(rustc -vV | sed -n 's/^commit-hash: //p')"
cd "$source"

# Each folder by a name of its own; the compiler's sources, where they are installed, by the name they have where they are not.
maps=("$source=/relay" "$cargo_home=/cargo" "$sysroot/lib/rustlib/src/rust=/rustc/$commit")
rust='' c=''
for map in "${maps[@]}"; do
  rust+="${rust:+$'\x1f'}--remap-path-prefix=$map"
  c+=" -ffile-prefix-map=$map"
done
export CARGO_ENCODED_RUSTFLAGS="$rust${CARGO_ENCODED_RUSTFLAGS:+$'\x1f'$CARGO_ENCODED_RUSTFLAGS}"
# `ring` has some C.
export CFLAGS="${CFLAGS:-}$c"
# No date is in the program, and each other one would have the C built again.
unset SOURCE_DATE_EPOCH
exec cargo build --release --locked -p relay --bin relay --features nats "$@"

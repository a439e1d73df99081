#!/usr/bin/env bash
# This relay beside other TURN servers and bare forwarders: builds what is ours, then measures. `--help` teaches.
#
#   benches/peers/run.sh --quick            proves that it works, in seconds
#   benches/peers/run.sh --with-turn-rs …   first builds turn-rs 4.1.5 into target/peers, if it is not there
#   benches/peers/run.sh --raise-buffers …  as root: lets servers that do not ask for 4 MiB receive buffers have them too,
#                                           by net.core.rmem_default, for as long as this runs
#   benches/peers/run.sh --no-build …       measures what was built before
set -euo pipefail
cd "$(dirname "$0")/../.."

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
with_turn_rs=0 raise_buffers=0 build=1 arguments=()
for argument in "$@"; do
  case "$argument" in
    --with-turn-rs) with_turn_rs=1 ;;
    --raise-buffers) raise_buffers=1 ;;
    --no-build) build=0 ;;
    *) arguments+=("$argument") ;;
  esac
done

if ((build)); then
  cargo build --release --quiet -p relay --bin relay
  cargo build --release --quiet -p benches --bin peers --bin turn_crate_server
fi

# Only its UDP and TCP: TLS and the API would need a protobuf compiler.
if ((with_turn_rs)) && [[ ! -x $target/peers/bin/turn-server ]]; then
  CARGO_TARGET_DIR="$target/peers/build" cargo install turn-server --version 4.1.5 --locked --quiet \
    --no-default-features --features udp,tcp --root "$target/peers"
fi

if ((raise_buffers)); then
  key=/proc/sys/net/core/rmem_default
  before=$(<"$key")
  trap 'echo "$before" >"$key"' EXIT
  trap 'exit 143' INT TERM
  echo 4194304 >"$key"
  "$target/release/peers" ${arguments[@]+"${arguments[@]}"} &
  child=$!
  trap 'kill "$child" 2>/dev/null; exit 143' INT TERM
  wait "$child"
else
  exec "$target/release/peers" ${arguments[@]+"${arguments[@]}"}
fi

#!/usr/bin/env bash
# `loadgen find-limit` on this relay and on coturn (Debian's package coturn), several times each, TURN alone: do the intervals overlap?
# Run it alone on the machine. Relay or coturn on one core, loadgen on the others.
#
#   benches/compare/limits.sh                     ten times each, ten minutes at most each time: an hour on a quiet machine
#   benches/compare/limits.sh --times 3 --at-most 4m
#   benches/compare/limits.sh --begin 4 --times 10    goes on after three that were made before
#   benches/compare/limits.sh --only coturn
#   benches/compare/limits.sh --summary           of what was recorded before
#   benches/compare/limits.sh --no-build
#   benches/compare/limits.sh -- --slo 'allocate.p99<50ms'   what follows -- goes to `loadgen find-limit`
set -euo pipefail
cd "$(dirname "$0")/../.."

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
records="$target/compare"
times=10 at_most=10m build=1 begin=1 kinds=(relay coturn)
while (($#)); do
  case "$1" in
    --times) times="$2"; shift 2 ;;
    --at-most) at_most="$2"; shift 2 ;;
    --no-build) build=0; shift ;;
    --begin) begin="$2"; shift 2 ;;
    --only) kinds=("$2"); shift 2 ;;
    --summary) build=0 times=0; shift ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --) shift; break ;;
    *) echo "limits.sh: unknown argument '$1'; try --help" >&2; exit 2 ;;
  esac
done

mkdir -p "$records"
if ((build)); then
  cargo build --release --quiet -p relay -p loadgen
  cp "$target/release/relay" "$target/release/loadgen" "$records/"
fi
cores=$(nproc)
here=0 there=0
((cores > 1)) && here=0-$((cores - 2)) there=$((cores - 1))
password=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')
free_port() { python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
declare -A server port
trap 'kill -KILL "${server[@]}" 2>/dev/null || true' EXIT # the relay would drain on a TERM

start_relay() {
  cat >"$records/limits.toml" <<TOML
[listen]
udp = ["127.0.0.1:$1"]
[relay]
realm = "limits"
addresses = ["127.0.0.1"]
ports = "20000-65535"
[auth]
users = { limits = "$password" }
[access]
allow_peers = ["127.0.0.0/8"]
user_allocations = 40000
[limits]
exempt = ["127.0.0.0/8"]
TOML
  taskset -c "$there" "$records/relay" --config "$records/limits.toml" >/dev/null 2>&1 &
  server[relay]=$!
}

start_coturn() {
  taskset -c "$there" turnserver -n --no-tls --no-dtls --no-tcp --no-cli --log-file /dev/null --lt-cred-mech --relay-threads 1 \
    --listening-ip 127.0.0.1 --listening-port "$1" --relay-ip 127.0.0.1 --min-port 20000 --max-port 65535 \
    --realm limits --user "limits:$password" --allow-loopback-peers --pidfile "" >/dev/null 2>&1 &
  server[coturn]=$!
}

# One process of each all the time, so that what differs is the search and the machine, and not how a process came to lie in memory.
if ((begin <= times)); then
  for kind in "${kinds[@]}"; do
    port[$kind]=$(free_port)
    "start_$kind" "${port[$kind]}"
  done
  sleep 1
fi
for turn in $(seq "$begin" "$times"); do
  for kind in "${kinds[@]}"; do
    echo "== $kind, $turn of $times" | tee -a "$records/limits.log"
    LOADGEN_TURN_PASSWORD="$password" taskset -c "$here" "$records/loadgen" find-limit --turn "turn:127.0.0.1:${port[$kind]}" \
      --user limits --server-pid "${server[$kind]}" --from 200 --at-most "$at_most" --json "$records/limit-$kind-$turn.json" -q "$@" \
      2>&1 | tee -a "$records/limits.log" || true
    sleep 2 # allocations of calls that were cut off are given up
  done
done

# How many of a server's intervals have a rate in common: some interval's lower end lies in all of them. Where the generator gave out, what
# the server carries is known from below alone.
for kind in "${kinds[@]}"; do
  jq -rs --arg kind "$kind" '
    map({low: (.cps.low // 0), high: (if .limit == "the generator" then infinite else .cps.high // infinite end), limit: (.limit // "nothing"), confirmed}) as $all
    | ([$all[].low | . as $rate | [$all[] | select(.low <= $rate and $rate <= .high)] | length] | max) as $common
    | ($all[] | "  \(.low | round)–\(if .high == infinite then "" else .high | round end)  \(.limit)\(if .confirmed then "" else ", not confirmed" end)"),
      "\($kind): \($common // 0) of \($all | length) intervals have a rate in common"
  ' "$records"/limit-"$kind"-*.json
done

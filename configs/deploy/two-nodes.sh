#!/usr/bin/env bash
# Two relays and their broker on this machine, to look at: open the page of each, and the two of you are matched and talk over one of the
# relays. What one is told to revoke both do; kill one of them, or the broker, and see.
#
#   configs/deploy/two-nodes.sh                    until Ctrl-C
#   configs/deploy/two-nodes.sh --relay PROGRAM    of another program than target/release/relay
#
# Needs nats-server (apt-get install nats-server) and a relay with the bus (configs/deploy/build-release.sh). Everything is on loopback, on
# ports that were free, and in a folder that is gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

relay="${CARGO_TARGET_DIR:-target}/release/relay"
while (($#)); do
  case "$1" in
    --relay) relay="$2"; shift 2 ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "two-nodes.sh: unknown argument '$1'; try --help" >&2; exit 2 ;;
  esac
done
command -v nats-server >/dev/null || { echo "two-nodes.sh: no nats-server: apt-get install nats-server" >&2; exit 1; }
[[ -x $relay ]] || { echo "two-nodes.sh: no $relay: configs/deploy/build-release.sh makes it" >&2; exit 1; }

folder="$(mktemp -d)"
started=()
end() {
  trap - EXIT INT TERM
  kill "${started[@]}" 2>/dev/null || true
  wait
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 0' INT TERM

# Core NATS: no -js, so nothing is ever kept. The relays refuse a broker that could.
nats-server --addr 127.0.0.1 --port -1 --ports_file_dir "$folder" --log "$folder/broker.log" &
started+=($!)
for _ in {1..100}; do compgen -G "$folder/*.ports" >/dev/null && break; sleep 0.1; done
broker="$(sed -n 's|.*"nats": *\["\(nats://[^"]*\)".*|\1|p' <(tr -d '\n' <"$(compgen -G "$folder/*.ports")"))"
(umask 077; head -c 32 /dev/urandom | base64 >"$folder/cluster.key")

for node in one two; do
  cat >"$folder/$node.toml" <<END
[listen]
udp = ["127.0.0.1:0"]
signalling = "127.0.0.1:0"
admin = "127.0.0.1:0"
[signalling]
demo_page = true
[drain]
deadline_secs = 1
[cluster]
nats = "$broker"
node = "$node"
keys = [{ file = "cluster.key" }]
END
  "$relay" --config "$folder/$node.toml" >"$folder/$node.log" 2>&1 &
  started+=($!)
done
for node in one two; do
  for _ in {1..100}; do grep -q '^ready' "$folder/$node.log" && break; sleep 0.1; done
  grep -q '^ready' "$folder/$node.log" || { cat "$folder/$node.log" >&2; exit 1; }
  page="$(sed -n 's/^listening signalling //p' "$folder/$node.log")" admin="$(sed -n 's/^listening admin //p' "$folder/$node.log")"
  echo "node $node: page $page dashboard $admin nodes ${admin%/}/v1/cluster"
done
echo "broker: $broker"
echo "Ctrl-C ends all three"
wait -n || true
echo "one of them has ended" >&2
wait

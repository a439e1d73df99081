#!/usr/bin/env bash
# The recorded experiment: can `loadgen ab` tell a build that is a tenth slower from one that is not, with rounds of two seconds and
# a margin of 3 %? Compares one build of the relay with itself (false alarms), then with a build that wastes a tenth of its packet
# path on purpose (feature `slowdown`). Run it alone on the machine; it says beforehand how long it takes.
#
#   benches/compare/experiment.sh                 149 and 59 comparisons of 6 pairs; the records go to target/compare
#   benches/compare/experiment.sh --aa 236 --slow 59 --rounds 8
#   benches/compare/experiment.sh --percent 5     a smaller slowdown
#   benches/compare/experiment.sh --no-build      with what was built before
#   benches/compare/experiment.sh -- --calls/s 500   what follows -- goes to `loadgen ab`, in place of --calls/s 1000 --metric cpu/packet
#
# A thousand calls a second are more than two generators on one core can time, so cost alone is judged; in return it scatters least
# (loadgen/docs/RESULTS.md). Stopped, it keeps the comparisons it has made: the records are written after each.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
records="$target/compare"
against_itself=149 against_slow=59 rounds=6 percent=10 build=1
load=(--calls/s 1000 --metric cpu/packet)
while (($#)); do
  case "$1" in
    --aa) against_itself="$2"; shift 2 ;;
    --slow) against_slow="$2"; shift 2 ;;
    --rounds) rounds="$2"; shift 2 ;;
    --percent) percent="$2"; shift 2 ;;
    --no-build) build=0; shift ;;
    -h|--help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --) shift; load=("$@"); break ;;
    *) echo "experiment.sh: unknown argument '$1'; try --help" >&2; exit 2 ;;
  esac
done

mkdir -p "$records"
if ((build)); then
  cargo build --release --quiet -p relay -p loadgen
  cp "$target/release/relay" "$target/release/loadgen" "$records/"
  cargo build --release --quiet -p relay --features slowdown
  cp "$target/release/relay" "$records/relay-slow"
  cargo build --release --quiet -p relay # what stands in release/ is never the slow one
fi

# A pair takes 3.7 s, warm-up and start included, and up to half as many again are made in place of those that do not count.
least=$(((against_itself + against_slow) * rounds * 37 / 10))
echo "about $((least / 60)) to $((least * 3 / 2 / 60)) minutes" >&2
ab() { "$records/loadgen" ab --rounds "$rounds" --round-time 2s --margin cpu/packet=3% "${load[@]}" "$@"; }

if ((against_itself)); then
  echo "== one build against itself" | tee -a "$records/experiment.log"
  ab --base "$records/relay" --aa --repeat "$against_itself" --json "$records/aa.json" 2>&1 | tee -a "$records/experiment.log" || true
fi
if ((against_slow)); then
  echo "== against a build $percent % slower" | tee -a "$records/experiment.log"
  RELAY_SLOWDOWN_PERCENT="$percent" ab --base "$records/relay" --head "$records/relay-slow" --repeat "$against_slow" \
    --json "$records/slow-$percent.json" 2>&1 | tee -a "$records/experiment.log"
fi

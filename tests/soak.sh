#!/usr/bin/env bash
# A relay at work for a long time, with callers who come and go: memory, descriptors and latency must stay flat (Theil–Sen slopes
# with their 95 % bounds). The result is in target/soak.txt, the samples in target/soak.csv; exits with 0 if they are.
#
#   tests/soak.sh [SECONDS] [CALLS_PER_SECOND]     3900, judged from the 32nd minute on, and 60 % of what `loadgen find-limit` finds in
#                                                  three minutes; calls last 3 s on average
#   SOAK_LEAK=1 tests/soak.sh 180                  shows that a leak is found: the harness holds four more connections at each sample
set -euo pipefail
cd "$(dirname "$0")/.."
if (($# < 2)); then
  limit="${CARGO_TARGET_DIR:-target}/soak-limit.json"
  # 5: the generator gave out first, on this machine; so much was carried all the same.
  cargo run --quiet --release -p loadgen -- find-limit --from 60 --resolution 10% --confirm 1 --at-most 3m --hold exp:3s --json "$limit" || [ $? = 5 ]
  set -- "${1:-3900}" "$(python3 -c 'import json, sys; print(round(0.6 * json.load(open(sys.argv[1]))["cps"]["low"]))' "$limit")"
fi
SOAK_SECS="$1" SOAK_CALLS_PER_SECOND="$2" \
  cargo test --release --quiet -p e2e -- --ignored --exact soak::soak_memory_descriptors_and_latency_stay_flat --nocapture

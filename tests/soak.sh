#!/usr/bin/env bash
# A relay at work for a long time, with callers who come and go: memory, descriptors and latency must stay flat (Theil–Sen slopes
# with their 95 % bounds). The result is in target/soak.txt; exits with 0 if they are.
#
#   tests/soak.sh [SECONDS] [CALLS_PER_SECOND]     3600 and 20 if nothing is said; calls last 3 s on average
#   SOAK_LEAK=1 tests/soak.sh 180                  shows that a leak is found: the harness holds four more connections at each sample
set -euo pipefail
cd "$(dirname "$0")/.."
SOAK_SECS="${1:-3600}" SOAK_CALLS_PER_SECOND="${2:-20}" \
  cargo test --release --quiet -p e2e -- --ignored --exact soak::soak_memory_descriptors_and_latency_stay_flat --nocapture

#!/bin/sh
# Coverage-guided fuzzing of one target on the stable toolchain, from and into tests/fuzz/corpus/<target>:
#
#   tests/fuzz/run.sh framing 1800      half an hour
#
# `cargo fuzz` does the same on nightly, with sanitizers. What a run finds worth keeping is named by a hash and ignored by git
# and by the short runs; give a file a name with a dash in it to keep it.
set -eu
target=$1
seconds=${2:-60}
cd "$(dirname "$0")"
triple=$(rustc -vV | sed -n 's/^host: //p')
sancov='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
sancov="$sancov -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
sancov="$sancov -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
RUSTFLAGS="--cfg fuzzing $sancov -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks -Cdebuginfo=line-tables-only" \
    nice cargo build --release --target "$triple" --bin "$target"
mkdir -p "corpus/$target" "artifacts/$target"
exec nice -n 19 "target/$triple/release/$target" "corpus/$target" \
    "-artifact_prefix=artifacts/$target/" "-max_total_time=$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024

#!/usr/bin/env bash
# The test command. On a fresh Debian machine it installs what the tests need (as root), builds once and runs everything.
#
#   tests/run.sh           every test, about twenty minutes when warm
#   tests/run.sh --long    the long proofs as well (oracle, model, simulation, fuzz, expiries in real time, counts of instructions,
#                          packages): two hours more
#
# Without root it installs nothing, runs what it can and lists what it left out.
set -euo pipefail
cd "$(dirname "$0")/.."

long=0
for argument in "$@"; do
  case "$argument" in
    --long) long=1 ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown argument '$argument'; try --help" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

# What a test needs, and the Debian package that has it.
needs=(chromium:chromium chromedriver:chromium-driver firefox-esr:firefox-esr certutil:libnss3-tools
  turnutils_uclient:coturn promtool:prometheus ip:iproute2 nft:nftables node:nodejs php:php-cli man:man-db mandoc:mandoc
  jq:jq curl:curl openssl:openssl nats-server:nats-server)
if ((long)); then
  needs+=(faketime:faketime valgrind:valgrind debootstrap:debootstrap systemd-nspawn:systemd-container lintian:lintian)
fi
missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null 2>&1 || missing+=("${need##*:}")
done
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
left_out=()
if ((long)) && [[ $(id -u) != 0 ]]; then left_out+=("f10_"); fi
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    step "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    # Debian starts servers on installation; the tests start what they need themselves.
    for server in coturn prometheus nats-server; do
      if [[ " ${missing[*]} " == *" $server "* ]] && pidof systemd >/dev/null 2>&1; then
        systemctl disable --now "$server" >/dev/null 2>&1 || true
      fi
    done
  else
    for package in "${missing[@]}"; do
      case "$package" in
        chromium*) left_out+=("browser" "page_of_a_run") ;;
        firefox-esr) left_out+=("firefox") ;;
        libnss3-tools) left_out+=("browser_transports") ;;
        coturn) left_out+=("uclient" "coturn") ;;
        prometheus) left_out+=("promtool" "native_histograms") ;;
        nats-server) left_out+=("cluster") ;;
        faketime) left_out+=("f07_") ;;
        valgrind) left_out+=("instructions") ;;
      esac
    done
    echo "not root: cannot install ${missing[*]}; to run everything: apt-get install ${missing[*]}" >&2
  fi
fi

# A foreign WebRTC stack, in an environment of its own beside what cargo builds; made anew when the list of versions changes.
interop="${CARGO_TARGET_DIR:-target}/interop"
if ! cmp -s tests/interop/requirements.txt "$interop/requirements.txt"; then
  step "a Python environment for the foreign callers"
  if rm -rf "$interop" && python3 -m venv "$interop" && "$interop/bin/pip" install --quiet -r tests/interop/requirements.txt; then
    cp tests/interop/requirements.txt "$interop/"
  else
    echo "no Python environment: see the message above" >&2
    left_out+=("aiortc" "every_pair_of_networks" "foreign_readers" "workflow_is_valid" "two_callers_of_an_app")
  fi
fi
# Network namespaces are root's.
[[ $(id -u) == 0 ]] || left_out+=("every_pair_of_networks" "in_namespaces" "started_as_root")

skips=()
for name in "${left_out[@]:-}"; do [[ -n $name ]] && skips+=(--skip "$name"); done

# A test says what went wrong; the harness's own stack would bury it.
export RUST_BACKTRACE=0
ignored=()
# All that is left for --long, but not the one that writes the fuzz targets' seeds into the tree, nor the one of an installed package.
if ((long)); then
  export LONG=1
  ignored=(--include-ignored --skip write_the_seeds --skip packaged:: --skip twenty_upgrades --skip ten_thousand_over)
fi

step "building the programs and the tests"
# With the bus, as in release builds: one build for all of them.
cargo build --quiet --bins -p relay -p loadgen --features relay/nats
cargo test --quiet --workspace --features relay/nats --no-run

step "tests of the libraries"
cargo test --quiet --workspace --exclude e2e --features relay/nats -- "${skips[@]}"

if ((long)); then
  step "metrics pushed as OTLP, which is not built in otherwise"
  cargo test --quiet -p relay --features otlp,nats --lib --test otlp -- otlp
fi

step "end to end: real daemon, foreign clients, browsers, fuzz targets"
reports=("${CARGO_TARGET_DIR:-target}"/{nat-matrix,nat-virtual-matrix,browser-trace,systemd-security}.txt)
missed="${CARGO_TARGET_DIR:-target}/not-tested-"
guides="${CARGO_TARGET_DIR:-target}/guide-"
rm -f "${reports[@]}" "$missed"*.txt "$guides"*.txt
cargo test -p e2e -- "${skips[@]}" "${ignored[@]}"
cat "${reports[@]}" "$guides"*.txt "$missed"*.txt 2>/dev/null || true

if ((long)); then
  step "the long proofs, each with the whole machine: twenty upgrades, a node of a cluster that is killed"
  cargo test -p e2e --release --test e2e -- --ignored --test-threads 1 twenty_upgrades ten_thousand_over
fi

step "the README's first command"
cargo build --quiet --release -p loadgen
measured=0
for attempt in 1 2; do
  code=0
  cargo run --quiet --release -p loadgen -- run || code=$?
  # 5 is loadgen's own judgement that this machine was too busy to measure: tried once more, then neither good nor bad.
  if ((code == 0)); then measured=1; break; fi
  ((code == 5)) || exit "$code"
done
((measured)) || echo "warning: the machine was too busy for numbers to be trusted; nothing else failed" >&2

# Counts of instructions, which no noise touches: two per cent more than stored is a failure, another compiler a note.
# In the long run only: it builds the benches for release first.
if ((long)) && command -v valgrind >/dev/null; then
  step "instructions of the data path and of an Allocate, under callgrind"
  cargo bench --quiet -p benches --bench instructions
fi

if ((long)); then
  step "packages"
  tests/packaging/run.sh
fi

if ((${#skips[@]})); then
  printf '\nleft out (see above for what to install): %s\n' "${left_out[*]}"
fi
printf '\nall tests passed\n'

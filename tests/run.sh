#!/usr/bin/env bash
# The test command. On a fresh Debian machine it installs what the tests need (as root), builds once and runs everything.
#
#   tests/run.sh           every test, about ten minutes when warm
#   tests/run.sh --long    the long proofs as well (oracle, model, simulation, fuzz): many minutes more
#
# Without root it installs nothing, runs what it can and lists what it left out.
set -euo pipefail
cd "$(dirname "$0")/.."

long=0
for argument in "$@"; do
  case "$argument" in
    --long) long=1 ;;
    -h|--help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown argument '$argument'; try --help" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

# What a test needs, and the Debian package that has it.
needs=(chromium:chromium chromedriver:chromium-driver turnutils_uclient:coturn ip:iproute2)
missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null 2>&1 || missing+=("${need##*:}")
done
left_out=()
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    step "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    # Debian starts coturn's server on installation; the tests start what they need themselves.
    if pidof systemd >/dev/null 2>&1; then systemctl disable --now coturn >/dev/null 2>&1 || true; fi
  else
    for package in "${missing[@]}"; do
      case "$package" in
        chromium*) left_out+=("browser") ;;
        coturn) left_out+=("uclient" "coturn") ;;
      esac
    done
    echo "not root: cannot install ${missing[*]}; to run everything: apt-get install ${missing[*]}" >&2
  fi
fi

skips=()
for name in "${left_out[@]:-}"; do [[ -n $name ]] && skips+=(--skip "$name"); done

export RUST_BACKTRACE=1
if ((long)); then export LONG=1; fi

step "building the programs and the tests"
cargo build --quiet --bins -p relay -p loadgen
cargo test --quiet --workspace --no-run

step "tests of the libraries"
cargo test --quiet --workspace --exclude e2e -- "${skips[@]}"

step "end to end: real daemon, foreign clients, browsers, fuzz targets"
cargo test -p e2e -- "${skips[@]}"

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

if ((${#skips[@]})); then
  printf '\nleft out (see above for what to install): %s\n' "${left_out[*]}"
fi
printf '\nall tests passed\n'

#!/usr/bin/env bash
# The programs compile for aarch64 (`cargo check`, build scripts and C included).
#
#   tests/packaging/aarch64.sh
#
# Where rustup has the target it is used; otherwise Debian's own compiler with Debian's aarch64 library, unpacked below the target directory
# (apt-get download: nothing is installed). Debian 12 has a current one under the name rustc-web, for its browsers.
set -euo pipefail
cd "$(dirname "$0")/../.."
. configs/deploy/tools.sh
triple=aarch64-unknown-linux-gnu

check() {
  CARGO_TARGET_DIR="$target/aarch64" cargo check --quiet --locked --target "$triple" -p relay -p loadgen "$@"
  echo "checked for $triple by $("${RUSTC:-rustc}" --version)"
}
if [[ -d $(rustc --print sysroot)/lib/rustlib/$triple ]] && command -v aarch64-linux-gnu-gcc >/dev/null; then
  check
  exit
fi

away="$tools/aarch64"
if [[ ! -e $away/made ]]; then
  command -v apt-get >/dev/null || { echo "aarch64.sh: rustup target add $triple, and install gcc for it" >&2; exit 1; }
  rm -rf "$away"
  mkdir -p "$away"/{lists/partial,archives/partial,sysroot}
  # What is installed here plays no part, and what is fetched changes nothing here.
  : >"$away/status"
  cat >"$away/apt.conf" <<END
APT::Architectures { "amd64"; "arm64"; };
Dir::State::lists "$away/lists";
Dir::State::status "$away/status";
Dir::Cache "$away";
Dir::Cache::archives "$away/archives";
Debug::NoLocking "true";
APT::Sandbox::User "root";
END
  export APT_CONFIG="$away/apt.conf"
  apt-get update --quiet=2
  apt-get install --quiet=2 --yes --download-only --no-install-recommends \
    rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64 libc6-dev:arm64 gcc-aarch64-linux-gnu >/dev/null
  # This machine's own C library serves these programs too.
  rm -f "$away"/archives/libc{6,-bin}_*_"$(dpkg --print-architecture)".deb
  for package in "$away"/archives/*.deb; do dpkg-deb --extract "$package" "$away/sysroot"; done
  unset APT_CONFIG
  rm -rf "$away"/archives "$away"/lists
  touch "$away/made"
fi
export LD_LIBRARY_PATH="$away/sysroot/usr/lib/$(gcc -print-multiarch)"
export RUSTC="$away/sysroot/usr/bin/rustc"
bin="$away/sysroot/usr/bin/aarch64-linux-gnu"
export CC_aarch64_unknown_linux_gnu="$bin-gcc" AR_aarch64_unknown_linux_gnu="$bin-ar"
export CFLAGS_aarch64_unknown_linux_gnu="--sysroot=$away/sysroot"
check

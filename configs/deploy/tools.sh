# Sourced by the scripts that package and check packages: where their tools are, and how they come there if they are missing.
# Everything is put below the target directory; nothing of the user's or the system's is changed.
target="$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd -P)"
tools="$target/tools"
export PATH="$PATH:$tools/bin:$tools/python/bin"

# cargo_tool cargo-deb 3.8.0: builds it, once.
cargo_tool() {
  command -v "$1" >/dev/null && return
  echo "building $1 $2 into $tools" >&2
  CARGO_TARGET_DIR="$tools/build" cargo install --quiet --locked --root "$tools" "$1@$2"
  rm -rf "$tools/build"
}

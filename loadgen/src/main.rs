//! `loadgen`: see `loadgen --help`.

fn main() -> std::process::ExitCode {
    loadgen::cli::main()
}

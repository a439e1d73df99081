//! `cargo run --release -p benches --bin generator -- --help`

fn main() -> std::process::ExitCode {
    benches::generator::main()
}

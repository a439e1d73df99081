//! `benches/peers/run.sh --help`

fn main() -> std::process::ExitCode {
    benches::peers::main()
}

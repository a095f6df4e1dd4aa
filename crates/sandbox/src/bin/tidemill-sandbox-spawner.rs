//! The spawner as a program of its own, for tests and for programs that cannot call `spawner_main` themselves (`ExecutorConfig::launcher`).

fn main() {
    match tidemill_sandbox::spawner_main() {
        Some(code) => std::process::exit(code),
        None => {
            eprintln!("started by the platform, not by hand");
            std::process::exit(2);
        }
    }
}

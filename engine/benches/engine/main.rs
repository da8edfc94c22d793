//! The whole engine's speed and memory, without signatures except where they are what is measured.
//!
//! `cargo bench -p lifeboat-engine --features unchecked --bench engine -- PART…` where a part is
//! `quotes`, `marks`, `memory`, `recovery`, `recovery-large`, `signatures`, or the path of an order stream
//! (one quick run with `--quick`; made by the generator of the matching workload, see the bench
//! `matching`). Times are this thread's CPU time unless said;
//! pin the process to one core. The heap has huge pages as in the program, unless `GLIBC_TUNABLES` is set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

mod clock;
mod marks;
mod memory;
mod quotes;
mod recovery;
mod signatures;
mod stream;
mod venue;

#[global_allocator]
static ALLOCATOR: clock::Counting = clock::Counting;

/// Begins again with huge pages for the heap, as the program itself does: see `cli/src/pages.rs`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn ask_for_huge_pages() {
    use std::os::unix::process::CommandExt as _;
    const TUNABLES: &str = "GLIBC_TUNABLES";
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    if std::env::var_os(TUNABLES).is_none() {
        let mut again = std::process::Command::new(program);
        again.args(std::env::args_os().skip(1));
        let error = again.env(TUNABLES, "glibc.malloc.hugetlb=1").exec();
        eprintln!("engine: without huge pages, {error}");
    }
}

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    ask_for_huge_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let parts: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if parts.is_empty() {
        println!("engine: nothing named, nothing measured; see the head of this file");
    }
    for part in parts {
        let mut done = Ok(());
        match part {
            "quotes" => quotes::report(),
            "marks" => marks::report(),
            "memory" => memory::report(),
            "recovery" => recovery::report(quick),
            "recovery-large" => recovery::report_large(),
            "signatures" => signatures::report(),
            path => done = stream::report(path, quick),
        }
        if let Err(problem) = done {
            eprintln!("engine: {problem}");
            std::process::exit(1);
        }
    }
}

//! Huge pages for the heap. A venue's state is hundreds of megabytes that are read here and there;
//! in pages of 4 KiB most reads of cold state begin with a walk of the page tables.
//!
//! glibc's allocator asks for huge pages only when the environment told it so before the program
//! began. So the program replaces itself once, with that in its environment: the same process, the
//! same arguments, the same descriptors. Where the system gives huge pages to everybody or to nobody,
//! nothing is done.

/// Begins this program again with huge pages, where that makes a difference. To be called before
/// there are threads or open files. Set `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` to go without.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn ask_for_huge() {
    use std::os::unix::process::CommandExt as _;

    let Some(tunables) = tunables(std::env::var(TUNABLES).ok()) else {
        return;
    };
    // A program with capabilities of its own never sees tunables: without the mark it would begin
    // for ever.
    if std::env::var_os(ASKED).is_some() || !only_on_request() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    let mut again = std::process::Command::new(program);
    again.arg0(name).args(arguments);
    again.env(TUNABLES, tunables).env(ASKED, "1");
    // It only returns when it failed, and small pages are good enough to go on.
    let error = again.exec();
    tracing::debug!(%error, "no huge pages");
}

/// Nothing to ask.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn ask_for_huge() {}

/// What glibc reads before a program begins.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Set in the program's second beginning, and seen by the processes it starts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ASKED: &str = "LIFEBOAT_HUGE_PAGES";

/// The tunables with huge pages among them; `None` when somebody decided about them already.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn tunables(set: Option<String>) -> Option<String> {
    const SETTING: &str = "glibc.malloc.hugetlb";
    match set {
        Some(set) if set.contains(SETTING) => None,
        Some(set) if !set.is_empty() => Some(format!("{set}:{SETTING}=1")),
        _ => Some(format!("{SETTING}=1")),
    }
}

/// Whether the system gives huge pages to those who ask, and to them alone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn only_on_request() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| modes.contains("[madvise]"))
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::tunables;

    #[test]
    fn what_somebody_set_is_kept() {
        let own = |set: &str| tunables(Some(set.to_owned()));
        assert_eq!(tunables(None).as_deref(), Some("glibc.malloc.hugetlb=1"));
        assert_eq!(
            own("glibc.malloc.check=1").as_deref(),
            Some("glibc.malloc.check=1:glibc.malloc.hugetlb=1")
        );
        assert_eq!(own("glibc.malloc.hugetlb=0"), None);
    }
}

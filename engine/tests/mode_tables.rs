//! `docs/MODES.md`: the permission table and the transition table, printed from the code.
#![allow(clippy::unwrap_used)]

mod vectors {
    use lifeboat_engine::modes::{Activity, Trigger, next, permits};
    use lifeboat_engine::types::Mode;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/MODES.md");
    /// Regenerates the file instead of comparing it.
    const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";
    /// Every trigger, and what pulls it.
    const TRIGGERS: [(Trigger, &str); 9] = [
        (
            Trigger::Halt,
            "a quorum asks, or a breaker trips at its third level",
        ),
        (Trigger::BlockGap, "no block for over a minute"),
        (Trigger::MatchingFault, "a command is quarantined"),
        (
            Trigger::RootAgreed,
            "a quorum agreed on a root past the fault, and nobody asks for a halt",
        ),
        (
            Trigger::PricesAgree,
            "enough sources agreed for as long as the rule asks",
        ),
        (Trigger::TimeElapsed, "the mode's time has run"),
        (Trigger::VaultFrozen, "the vault is frozen on its chain"),
        (Trigger::AuctionOver, "every auction is over"),
        (Trigger::Pause, "a breaker trips at its second level"),
    ];

    const fn name(mode: Mode) -> &'static str {
        match mode {
            Mode::Open => "OPEN",
            Mode::Halted => "HALTED",
            Mode::Verify => "VERIFY",
            Mode::CancelOnly => "CANCEL_ONLY",
            Mode::Auction => "AUCTION",
            Mode::PostOnly => "POST_ONLY",
            Mode::ClearingOnly => "CLEARING_ONLY",
            Mode::Exit => "EXIT",
        }
    }

    fn row(cells: impl Iterator<Item = String>) -> String {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    }

    fn table(head: &str, columns: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
        let mut out = row([head.to_owned()].into_iter().chain(columns.iter().cloned()));
        out += &row((0..=columns.len()).map(|_| "---".to_owned()));
        out + &rows.map(|cells| row(cells.into_iter())).collect::<String>()
    }

    fn page() -> String {
        let modes: Vec<String> = Mode::ALL
            .iter()
            .map(|mode| name(*mode).to_owned())
            .collect();
        let permissions = Activity::ALL.iter().map(|activity| {
            let cell = |mode: &Mode| if permits(*mode, *activity) { "yes" } else { "" };
            let cells = Mode::ALL.iter().map(|mode| cell(mode).to_owned());
            [format!("{activity:?}")].into_iter().chain(cells).collect()
        });
        let transitions = TRIGGERS.iter().map(|(trigger, what)| {
            let cells = Mode::ALL
                .iter()
                .map(|from| next(*from, *trigger).map_or("", name).to_owned());
            [format!("{trigger:?}: {what}")]
                .into_iter()
                .chain(cells)
                .collect()
        });
        format!(
            "# Modes\n\n\
             Printed from `engine/src/modes.rs` by `cargo xtask vectors`; a test compares. The same tables hold \
             for the venue and, while it is open, for each underlying by itself. `drill/tests/modes.rs` searches \
             all states that the engine can come into: none is a trap but EXIT, and nothing trades against the \
             table.\n\n\
             ## What a mode permits\n\n{}\n\
             ## How one follows another\n\nA cell is the mode that follows the column's; empty where nothing \
             changes.\n\n{}",
            table("activity", &modes, permissions),
            table("trigger", &modes, transitions),
        )
    }

    #[test]
    fn are_current() {
        let page = page();
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(FILE, &page).unwrap();
        }
        let kept = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            kept == page,
            "docs/MODES.md is old: `cargo xtask vectors` prints it anew"
        );
    }
}

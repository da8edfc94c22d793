use super::*;
use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::event::ModeReason;
use lifeboat_engine::settlement::IndexFault;
use lifeboat_engine::types::{OptionKind, Price};

const BTC: UnderlyingId = UnderlyingId::new(0);
const CALL: InstrumentId = InstrumentId::new(7);
const ACCOUNT: AccountId = AccountId::new(3);

fn rules() -> LiquidationRules {
    LiquidationRules::of(&Parameters::default())
}

fn listed() -> Event {
    let terms = OptionTerms {
        underlying: BTC,
        expiry: TimeMs::new(1 << 50),
        strike: Price::new(1),
        kind: OptionKind::Call,
    };
    Event::InstrumentListed {
        instrument: CALL,
        terms,
    }
}

fn index(sources: u8) -> Event {
    Event::IndexUpdated {
        underlying: BTC,
        price: Price::new(1),
        sources,
    }
}

fn lost() -> Event {
    Event::IndexLost {
        underlying: BTC,
        sources: 1,
        fault: IndexFault::TooFew,
        frozen: Vec::new(),
        dispersion_ppm: None,
    }
}

fn agreed() -> Event {
    Event::SourcesAgreed {
        underlying: BTC,
        sources: 5,
    }
}

fn mode(to: Mode) -> Event {
    let (from, reason) = (Mode::Open, ModeReason::TimeElapsed);
    Event::ModeChanged { from, to, reason }
}

fn own_mode(to: Mode) -> Event {
    Event::UnderlyingModeChanged {
        underlying: BTC,
        from: Mode::Open,
        to,
        reason: ModeReason::TimeElapsed,
    }
}

/// Of an account whose maintenance requirement is 100.
fn started(equity: i64, age_ms: u64, sources: u8, grace_until: u64) -> Event {
    Event::LiquidationStarted {
        account: ACCOUNT,
        maintenance: Cash::new(equity - 100),
        mark_to_market: Cash::new(equity),
        basis: LiquidationBasis {
            age_ms,
            sources,
            grace_until: TimeMs::new(grace_until),
        },
    }
}

fn to_fund(grace_until: u64) -> Event {
    let basis = LiquidationBasis {
        age_ms: 0,
        sources: 5,
        grace_until: TimeMs::new(grace_until),
    };
    Event::LiquidationToFund {
        account: ACCOUNT,
        paid_by_fund: Cash::ZERO,
        basis,
    }
}

/// Blocks of events at times, of an account that holds one call; what the last event is found to be.
fn judge(stream: &[(u64, Event)]) -> Result<u64, String> {
    let mut auditor = LiquidationAuditor::new(rules());
    let held = |account| BTreeSet::from_iter((account == ACCOUNT).then_some(CALL));
    auditor.see(&listed(), held)?;
    for (at, event) in stream {
        auditor.begin_block(TimeMs::new(*at));
        auditor.see(event, held)?;
    }
    Ok(auditor.checks())
}

#[test]
fn a_liquidation_by_the_rules_passes() {
    let fresh = [(1_000, index(5)), (1_500, started(90, 700, 5, 0))];
    assert_eq!(judge(&fresh), Ok(1));
    let grace = 3_600_000;
    let mut outage = vec![
        (1_000, index(5)),
        (2_000, mode(Mode::Halted)),
        (40_000, index(4)),
        (40_000, agreed()),
        (41_000, mode(Mode::CancelOnly)),
        (41_000, started(49, 1_000, 4, u64::MAX)),
        (50_000, mode(Mode::Open)),
        (51_000, index(5)),
        (51_000, started(49, 0, 5, 50_000 + grace)),
        (50_000 + grace, index(5)),
        (50_000 + grace, started(99, 0, 5, 0)),
        (50_000 + grace, to_fund(0)),
    ];
    assert_eq!(judge(&outage), Ok(4));
    outage.truncate(3);
    outage.extend([
        (40_500, mode(Mode::CancelOnly)),
        (41_000, started(49, 1_000, 4, u64::MAX)),
    ]);
    let found = judge(&outage).expect_err("sources never agreed");
    assert!(found.contains("have not agreed"), "{found}");
}

/// What is doctored, the events with their times, and what is found.
type Case = (&'static str, Vec<(u64, Event)>, &'static str);

#[test]
fn a_doctored_stream_is_caught() {
    let grace = 50_000 + 3_600_000;
    let back = [
        (2_000, mode(Mode::ClearingOnly)),
        (40_000, agreed()),
        (50_000, mode(Mode::Open)),
        (51_000, index(5)),
    ];
    let after = |event| {
        let mut stream = back.to_vec();
        stream.push((51_000, event));
        stream
    };
    let cases: [Case; 12] = [
        (
            "no index at all",
            vec![(1_000, started(90, 0, 5, 0))],
            "never was an index",
        ),
        (
            "an index gone old",
            vec![(1_000, index(5)), (182_000, started(90, 181_000, 5, 0))],
            "bound 180000",
        ),
        (
            "an old index said to be young",
            vec![(1_000, index(5)), (62_000, started(90, 1_000, 5, 0))],
            "index 61000",
        ),
        (
            "too few sources",
            vec![(1_000, index(2)), (1_000, started(90, 0, 2, 0))],
            "at least 3",
        ),
        (
            "few sources said to be many",
            vec![(1_000, index(2)), (1_000, started(90, 0, 5, 0))],
            "2 seen",
        ),
        (
            "a lost index",
            vec![
                (1_000, index(5)),
                (2_000, lost()),
                (2_000, started(90, 0, 5, 0)),
            ],
            "have not agreed",
        ),
        (
            "agreement too soon",
            vec![(1_000, index(5)), (2_000, lost()), (31_999, agreed())],
            "29999",
        ),
        ("grace", after(started(50, 0, 5, grace)), "within grace"),
        ("grace denied", after(started(50, 0, 5, 0)), "grace said"),
        ("the fund in grace", after(to_fund(grace)), "within grace"),
        (
            "while halted",
            vec![
                (1_000, index(5)),
                (1_000, mode(Mode::Halted)),
                (1_000, started(1, 0, 5, u64::MAX)),
            ],
            "liquidated in Halted",
        ),
        (
            "while its underlying is halted by itself",
            vec![
                (1_000, own_mode(Mode::Halted)),
                (2_000, own_mode(Mode::Verify)),
                (40_000, index(5)),
                (40_000, agreed()),
                (40_000, started(1, 0, 5, u64::MAX)),
            ],
            "is in Verify",
        ),
    ];
    for (name, stream, why) in cases {
        let found = judge(&stream).expect_err(name);
        assert!(found.contains(why), "{name}: {found}");
    }
    assert_eq!(judge(&after(started(49, 0, 5, grace))), Ok(1));
}

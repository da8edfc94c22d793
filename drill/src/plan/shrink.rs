//! Makes a failing plan smaller while it still fails.

use super::{Fault, Plan, Planned};

/// Times are brought down to multiples of this.
const ROUND_MS: u64 = 100;

/// Looks for a smaller plan that still fails, with at most `attempts` runs of `fails`. What comes back
/// is either `plan` or one for which `fails` said yes.
pub fn shrink(plan: &Plan, attempts: u32, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut left = attempts;
    let mut try_one = |candidate: Plan, best: &mut Plan| {
        let worth = left > 0 && candidate != *best;
        left = left.saturating_sub(u32::from(worth));
        let smaller = worth && fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    loop {
        let before = best.clone();
        drop_faults(&mut best, &mut try_one);
        for place in 0..best.faults.len() {
            for simpler in simpler(&best.faults[place]) {
                let mut candidate = best.clone();
                candidate.faults[place] = simpler;
                candidate.faults.sort_by_key(|planned| planned.at_ms);
                // The next ones are of the fault as it was: the next round makes them of the new one.
                if try_one(candidate, &mut best) {
                    break;
                }
            }
        }
        if best == before {
            return best;
        }
    }
}

/// Leaves out stretches of faults: half of them, a quarter, one.
fn drop_faults(best: &mut Plan, try_one: &mut impl FnMut(Plan, &mut Plan) -> bool) {
    let mut size = best.faults.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < best.faults.len() {
            let mut candidate = best.clone();
            let to = (from + size).min(candidate.faults.len());
            candidate.faults.drain(from..to);
            if !try_one(candidate, best) {
                from += size;
            }
        }
        size /= 2;
    }
}

/// The same fault earlier and rounder, or milder.
fn simpler(planned: &Planned) -> Vec<Planned> {
    let with = |what: Fault| Planned {
        what,
        ..planned.clone()
    };
    let mut found = vec![Planned {
        at_ms: planned.at_ms / 2 / ROUND_MS * ROUND_MS,
        jitter_ms: 0,
        ..planned.clone()
    }];
    found.push(Planned {
        at_ms: planned.at_ms / ROUND_MS * ROUND_MS,
        jitter_ms: 0,
        ..planned.clone()
    });
    match &planned.what {
        Fault::PowerCut { who, kept_ppm } => {
            found.push(with(Fault::Kill(who.clone())));
            if *kept_ppm > 0 {
                let who = who.clone();
                found.push(with(Fault::PowerCut { who, kept_ppm: 0 }));
            }
        }
        Fault::Wipe(who) => found.push(with(Fault::Kill(who.clone()))),
        Fault::Links {
            loss_ppm,
            latency_ms,
        } if *loss_ppm > 0 => {
            let latency_ms = *latency_ms;
            found.push(with(Fault::Links {
                loss_ppm: 0,
                latency_ms,
            }));
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Who, random};
    use super::*;

    #[test]
    fn only_what_makes_it_fail_is_left() {
        // Fails when anybody is wiped, whatever else happens.
        let wiped = |plan: &Plan| plan.has(|fault| matches!(fault, Fault::Wipe(_)));
        let plan = (0..)
            .map(random)
            .find(|plan| wiped(plan) && plan.faults.len() > 4);
        let plan = plan.expect("one of them wipes a validator");
        let mut runs = 0;
        let small = shrink(&plan, 200, |plan| {
            runs += 1;
            wiped(plan)
        });
        assert_eq!(small.faults.len(), 1);
        assert!(matches!(&small.faults[0].what, Fault::Wipe(Who::Nodes(_))));
        assert_eq!(small.faults[0].at_ms, 0);
        assert!(runs <= 200);
    }

    #[test]
    fn a_plan_that_does_not_fail_and_a_spent_budget_change_nothing() {
        let plan = random(1);
        assert_eq!(shrink(&plan, 100, |_| false), plan);
        assert_eq!(shrink(&plan, 0, |_| true), plan);
    }
}

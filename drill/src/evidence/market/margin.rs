//! Margin of the accounts that hold a plan's positions.

use lifeboat_engine::Engine;
use lifeboat_engine::types::{AccountId, Cash, TimeMs};

use super::Named;

/// Equity and requirements of one account over a run.
#[derive(Clone, Copy, Debug)]
struct Course {
    account: AccountId,
    /// Initial and maintenance margin when the plan began; 0 before.
    began: [f64; 2],
    /// The most of each, in millionths of what it was when the plan began.
    most_ppm: [f64; 2],
    last_ppm: [f64; 2],
    equity_low: f64,
    /// The least that equity was of the maintenance margin, in millionths.
    cover_low_ppm: f64,
}

/// The accounts' courses. See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Margins {
    began: TimeMs,
    courses: Vec<Course>,
}

impl Margins {
    /// From a plan's beginning on.
    pub fn new(began: TimeMs, holders: Vec<AccountId>) -> Self {
        let course = |account| Course {
            account,
            began: [0.0; 2],
            most_ppm: [0.0; 2],
            last_ppm: [0.0; 2],
            equity_low: f64::MAX,
            cover_low_ppm: f64::MAX,
        };
        Self {
            began,
            courses: holders.into_iter().map(course).collect(),
        }
    }

    /// Looks at the accounts after a block.
    pub fn look(&mut self, engine: &Engine) {
        if engine.time() < self.began {
            return;
        }
        for course in &mut self.courses {
            let Some(margin) = engine.margin_summary(course.account) else {
                continue;
            };
            let usdc = |cash: Cash| cash.get() as f64 / 1e6;
            course.equity_low = course.equity_low.min(usdc(margin.equity));
            let now = [usdc(margin.initial), usdc(margin.maintenance)];
            if now[1] > 0.0 {
                let cover = (1e6 * usdc(margin.equity) / now[1]).round();
                course.cover_low_ppm = course.cover_low_ppm.min(cover);
            }
            for (place, now) in now.into_iter().enumerate() {
                if course.began[place] == 0.0 {
                    course.began[place] = now;
                }
                let ppm = match course.began[place] {
                    0.0 => 0.0,
                    began => (1e6 * now / began).round(),
                };
                course.last_ppm[place] = ppm;
                course.most_ppm[place] = course.most_ppm[place].max(ppm);
            }
        }
    }

    /// Figures of all accounts together: the worst of them.
    pub fn named(&self) -> Named {
        let most = |of: fn(&Course) -> f64| self.courses.iter().map(of).fold(0.0, f64::max);
        let least = |of: fn(&Course) -> f64| self.courses.iter().map(of).fold(f64::MAX, f64::min);
        let mut named: Named = [
            ("initial_margin_most_ppm", most(|one| one.most_ppm[0])),
            ("initial_margin_last_ppm", most(|one| one.last_ppm[0])),
            ("maintenance_margin_most_ppm", most(|one| one.most_ppm[1])),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let lows = [
            ("holder_equity_low_usdc", least(|one| one.equity_low)),
            ("holder_cover_low_ppm", least(|one| one.cover_low_ppm)),
        ];
        let lows = lows.into_iter().filter(|(_, low)| *low < f64::MAX);
        named.extend(lows.map(|(name, low)| (name.to_owned(), low)));
        named
    }
}

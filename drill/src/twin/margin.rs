//! A naive margin: every position priced anew in every scenario, in floats, straight from the
//! formulas.

use lifeboat_engine::risk::{
    CollateralTerms, ExpiryState, InstrumentKind, InstrumentTerms, Pm2Parameters, Ratio,
    StandardParameters, UnderlyingState, VolMark, VolShock,
};
use lifeboat_engine::types::{InstrumentId, OptionKind, Price, Qty, TimeMs};

/// Everything that margin depends on but the account.
#[derive(Clone, Debug)]
pub struct SlowMargin {
    /// Portfolio margin's parameters.
    pub parameters: Pm2Parameters,
    /// Standard margin's parameters.
    pub standard: StandardParameters,
    /// One for each underlying.
    pub markets: Vec<UnderlyingState>,
    /// All listed instruments.
    pub instruments: Vec<(InstrumentId, InstrumentTerms)>,
    /// Their marked volatilities.
    pub marks: Vec<VolMark>,
}

/// Initial and maintenance margin and equity, in USDC.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SlowResult {
    /// Excess over initial margin.
    pub im: f64,
    /// Excess over maintenance margin.
    pub mm: f64,
    /// Cash and positions at the mark.
    pub equity: f64,
}

/// A position in coins with what it needs to be valued.
#[derive(Clone, Copy, Debug)]
struct Line {
    terms: InstrumentTerms,
    amount: f64,
    vol: f64,
    vol_confidence: f64,
}

fn ratio(ratio: Ratio) -> f64 {
    ratio.get() as f64 / 1e9
}

fn dollars(price: Price) -> f64 {
    price.get() as f64 / 1e6
}

fn coins(qty: Qty) -> f64 {
    qty.get() as f64 / 1e8
}

fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x / 2.0_f64.sqrt())
}

/// Black-76, undiscounted.
fn black76(forward: f64, strike: f64, vol: f64, years: f64, kind: OptionKind) -> f64 {
    let sign = if kind == OptionKind::Call { 1.0 } else { -1.0 };
    if years <= 0.0 || vol <= 0.0 || forward <= 0.0 {
        return (sign * (forward - strike)).max(0.0);
    }
    let total = vol * years.sqrt();
    let d1 = (forward / strike).ln() / total + total / 2.0;
    let d2 = d1 - total;
    sign * (forward * normal(sign * d1) - strike * normal(sign * d2))
}

/// The options of one expiry.
struct Expiry<'a> {
    state: &'a ExpiryState,
    seconds: f64,
    lines: Vec<(f64, OptionKind, Line)>,
}

impl Expiry<'_> {
    fn years(&self) -> f64 {
        self.seconds / (365.0 * 86_400.0)
    }

    fn rate(&self) -> f64 {
        ratio(self.state.rate).max(0.0)
    }

    fn discount(&self) -> f64 {
        (-self.rate() * self.years()).exp()
    }

    fn forward(&self, factor: f64) -> f64 {
        let open = self
            .state
            .settled
            .map_or((self.seconds / 1800.0).min(1.0), |settled| {
                1.0 - ratio(settled.share)
            });
        let known = self
            .state
            .settled
            .map_or(self.state.forward, |settled| settled.mean);
        dollars(self.state.forward) * open * factor + dollars(known) * (1.0 - open)
    }

    fn value(&self, factor: f64, vol: impl Fn(f64, f64) -> f64) -> f64 {
        let one = |(strike, kind, line): &(f64, OptionKind, Line)| {
            let shocked = vol(line.vol, (strike / dollars(self.state.forward)).ln());
            let price = black76(self.forward(factor), *strike, shocked, self.years(), *kind);
            line.amount * self.discount() * price
        };
        self.lines.iter().map(one).sum()
    }

    fn mark(&self) -> f64 {
        self.value(1.0, |vol, _| vol)
    }

    /// Naked shorts in coins.
    fn naked(&self) -> f64 {
        let mut strikes: Vec<f64> = self.lines.iter().map(|line| line.0).collect();
        strikes.sort_by(f64::total_cmp);
        strikes.dedup();
        let net = |strike: &f64| -> f64 {
            self.lines
                .iter()
                .filter(|line| line.0 == *strike)
                .map(|line| line.2.amount)
                .sum()
        };
        strikes.iter().map(|strike| (-net(strike)).max(0.0)).sum()
    }
}

impl SlowMargin {
    fn lines(&self, positions: &[(InstrumentId, i64)], market: &UnderlyingState) -> Vec<Line> {
        let mut lines = Vec::new();
        for (instrument, lots) in positions {
            let listed = self.instruments.iter().find(|(id, _)| id == instrument);
            let Some((_, terms)) = listed.filter(|(_, t)| t.underlying == market.underlying) else {
                continue;
            };
            let mark = self
                .marks
                .iter()
                .find(|mark| mark.instrument == *instrument);
            lines.push(Line {
                terms: *terms,
                amount: *lots as f64 * coins(terms.lot),
                vol: mark.map_or(0.0, |mark| ratio(mark.vol)),
                vol_confidence: mark.map_or(1.0, |mark| ratio(mark.confidence)),
            });
        }
        lines
    }

    fn expiries<'a>(&self, market: &'a UnderlyingState, lines: &[Line]) -> Vec<Expiry<'a>> {
        let expiry = |state: &'a ExpiryState| Expiry {
            state,
            seconds: state.expiry.since(market.now) as f64 / 1e3,
            lines: lines
                .iter()
                .filter_map(|line| option_of(line, state.expiry))
                .collect(),
        };
        market
            .expiries
            .iter()
            .map(expiry)
            .filter(|expiry| !expiry.lines.is_empty())
            .collect()
    }

    /// Portfolio margin of these positions.
    pub fn portfolio(&self, positions: &[(InstrumentId, i64)], cash: f64) -> SlowResult {
        let mut sum = SlowResult {
            im: cash,
            mm: cash,
            equity: cash,
        };
        for market in &self.markets {
            let lines = self.lines(positions, market);
            let expiries = self.expiries(market, &lines);
            let worst = self.worst(market, &expiries, &lines);
            let loss = &self.parameters.loss;
            let contingency = &self.parameters.contingency;
            let peg = ratio(contingency.peg_loss_threshold) - ratio(market.stable);
            let peg = peg.max(0.0) * ratio(contingency.peg_loss_factor);
            let (on_top, both) = self.contingencies(market, &expiries, &lines);
            let mark: f64 = expiries.iter().map(Expiry::mark).sum::<f64>()
                + lines.iter().map(|line| worth(market, line)).sum::<f64>();
            sum.im += worst * (ratio(loss.im_loss_factor) + peg) - on_top - both + mark;
            sum.mm += worst * ratio(loss.mm_loss_factor) - both + mark;
            sum.equity += mark;
        }
        sum
    }

    fn worst(&self, market: &UnderlyingState, expiries: &[Expiry<'_>], lines: &[Line]) -> f64 {
        let forward: f64 = expiries
            .iter()
            .map(|expiry| self.forward_loss(expiry))
            .sum();
        let scenarios = self.parameters.scenarios.iter().map(|scenario| {
            let (factor, damping) = (ratio(scenario.spot), ratio(scenario.damping));
            let skew = scenario.vol.is_skew();
            let options = expiries.iter().map(|expiry| {
                let factor = if skew { 1.0 } else { factor };
                let value =
                    expiry.value(factor, |vol, k| self.shocked(expiry, scenario.vol, vol, k));
                let pnl = (value * self.static_discount(expiry, value) - expiry.mark()) * damping;
                if skew { -pnl.abs() } else { pnl }
            });
            let linear = lines.iter().map(|line| {
                if skew {
                    0.0
                } else {
                    moving(market, line) * (factor - 1.0) * damping
                }
            });
            options.sum::<f64>() + linear.sum::<f64>()
        });
        scenarios.fold(forward, f64::min)
    }

    fn forward_loss(&self, expiry: &Expiry<'_>) -> f64 {
        let basis = &self.parameters.basis;
        let pnl = |factor: Ratio| expiry.value(ratio(factor), |vol, _| vol) - expiry.mark();
        let loss = pnl(basis.spot_up).min(pnl(basis.spot_down)).min(0.0);
        loss * (ratio(basis.add_factor) + expiry.years() * ratio(basis.mult_factor))
    }

    fn static_discount(&self, expiry: &Expiry<'_>, value: f64) -> f64 {
        let loss = &self.parameters.loss;
        let (rate, years) = (expiry.rate(), expiry.years());
        if value > 0.0 {
            let rate = rate * ratio(loss.long_rate_mult) + ratio(loss.long_rate_add);
            ratio(loss.static_discount_pos) * (-years * rate).exp()
        } else {
            let rate = rate * ratio(loss.short_rate_mult) + ratio(loss.short_rate_add);
            let factor = ratio(loss.static_discount_neg) * (years * rate).exp();
            factor.min(1.0 / expiry.discount())
        }
    }

    fn shocked(&self, expiry: &Expiry<'_>, shock: VolShock, vol: f64, k: f64) -> f64 {
        let p = &self.parameters.vol;
        let days = (expiry.seconds / 86_400.0).max(ratio(p.dte_floor_days));
        let power = if days <= 30.0 {
            p.short_term_power
        } else {
            p.long_term_power
        };
        let term = (30.0 / days).powf(ratio(power));
        match shock {
            VolShock::Up => (vol * (1.0 + ratio(p.range_up) * term)).max(ratio(p.min_shocked)),
            VolShock::None => vol,
            VolShock::Down => vol * (1.0 - ratio(p.range_down) * term).max(0.0),
            VolShock::SkewLinear => vol * self.tilt(expiry, k, false),
            VolShock::SkewAbsolute => vol * self.tilt(expiry, k.abs(), true),
        }
    }

    fn tilt(&self, expiry: &Expiry<'_>, k: f64, absolute: bool) -> f64 {
        let p = &self.parameters.skew;
        let root = expiry.years().sqrt();
        let cap = if absolute {
            ratio(p.abs_base) * root + ratio(p.abs_scale_cap)
        } else {
            ratio(p.linear_base) * root + ratio(p.linear_scale_cap)
        };
        let width = ratio(p.vol_static) + root * ratio(p.vol_scale);
        let k_star = (root * ratio(p.min_width_scale) * width).max(ratio(p.min_k_star));
        let slope = if k_star > 0.0 { k * cap / k_star } else { 0.0 };
        let tilt = if k >= 0.0 {
            slope.min(cap)
        } else {
            slope.max(-cap)
        };
        (1.0 + tilt).max(0.0)
    }

    /// Initial margin's own contingencies, and those of both margins.
    fn contingencies(
        &self,
        market: &UnderlyingState,
        expiries: &[Expiry<'_>],
        lines: &[Line],
    ) -> (f64, f64) {
        let p = &self.parameters.contingency;
        let spot = dollars(market.spot);
        let surcharge = |confidence: f64, notional: f64| {
            let missing = (1.0 - confidence) * ratio(p.confidence_margin) * notional;
            if confidence < ratio(p.confidence_threshold) {
                missing
            } else {
                0.0
            }
        };
        let naked: f64 = expiries.iter().map(Expiry::naked).sum();
        let (mut on_top, mut both) = (
            naked * spot * ratio(p.im_option),
            naked * spot * ratio(p.mm_option),
        );
        let has_perp = lines
            .iter()
            .any(|line| line.terms.kind == InstrumentKind::Perp);
        let index = ratio(market.spot_confidence);
        let perp = ratio(market.perp_confidence);
        for expiry in expiries {
            let listed = self.lowest_confidence(market, expiry.state);
            let base = listed.min(index).min(if has_perp { perp } else { 1.0 });
            let held: f64 = expiry.lines.iter().map(|line| line.2.amount.abs()).sum();
            on_top += surcharge(base, held * spot);
        }
        for line in lines {
            let amount = line.amount.abs();
            match line.terms.kind {
                InstrumentKind::Option { .. } => {}
                InstrumentKind::Perp => {
                    on_top += amount * spot * ratio(p.im_perp);
                    on_top += surcharge(index.min(perp), amount * spot);
                    both += amount * spot * ratio(p.mm_perp);
                }
                InstrumentKind::Collateral(asset) => {
                    let worth = worth(market, line);
                    on_top += worth * ratio(asset.im_haircut);
                    on_top += surcharge(index.min(ratio(asset.confidence)), worth);
                    both += worth * ratio(asset.mm_haircut);
                }
            }
        }
        (on_top, both)
    }

    /// The lowest confidence of an expiry's feeds and of all its listed options' volatilities.
    fn lowest_confidence(&self, market: &UnderlyingState, expiry: &ExpiryState) -> f64 {
        let all: Vec<_> = self.instruments.iter().map(|(id, _)| (*id, 1)).collect();
        self.lines(&all, market)
            .iter()
            .filter_map(|line| option_of(line, expiry.expiry))
            .map(|(_, _, line)| line.vol_confidence)
            .fold(ratio(expiry.confidence), f64::min)
    }

    /// Standard margin of these positions.
    pub fn standard(&self, positions: &[(InstrumentId, i64)], cash: f64) -> SlowResult {
        let mut sum = SlowResult {
            im: cash,
            mm: cash,
            equity: cash,
        };
        for market in &self.markets {
            let lines = self.lines(positions, market);
            for expiry in self.expiries(market, &lines) {
                let (im, mm) = self.standard_expiry(market, &expiry);
                sum.im += im;
                sum.mm += mm;
                sum.equity += expiry.mark();
            }
            for line in &lines {
                self.add_standard_linear(market, line, &mut sum);
            }
        }
        sum
    }

    fn standard_expiry(&self, market: &UnderlyingState, expiry: &Expiry<'_>) -> (f64, f64) {
        let p = &self.standard;
        let spot = dollars(market.spot);
        let (mut isolated_im, mut isolated_mm, mut surcharge) = (0.0, 0.0, 0.0);
        for (strike, kind, line) in &expiry.lines {
            let short = (-line.amount).max(0.0);
            let mark = expiry.discount()
                * black76(
                    expiry.forward(1.0),
                    *strike,
                    line.vol,
                    expiry.years(),
                    *kind,
                );
            let otm = match kind {
                OptionKind::Call => strike - spot,
                OptionKind::Put => spot - strike,
            };
            let share = (ratio(p.im_spot) - otm.max(0.0) / spot).max(ratio(p.im_spot_min));
            let (mut im, mut mm) = (share * spot + mark, ratio(p.mm_spot) * spot + mark);
            if *kind == OptionKind::Put {
                mm = (ratio(p.mm_spot) * spot).max(ratio(p.mm_spot) * mark) + mark;
                im = im.max(ratio(p.put_im_over_mm) * mm);
            }
            isolated_im -= short * im;
            isolated_mm -= short * mm;
            let feeds = ratio(expiry.state.confidence).min(ratio(market.spot_confidence));
            surcharge +=
                short * spot * self.standard_surcharge(market, feeds.min(line.vol_confidence));
        }
        let bounded = |unpaired: Ratio| {
            let is_call = |line: &&(f64, OptionKind, Line)| line.1 == OptionKind::Call;
            let calls: f64 = expiry
                .lines
                .iter()
                .filter(is_call)
                .map(|line| line.2.amount)
                .sum();
            let payoff = |price: f64| -> f64 {
                let one = |(strike, kind, line): &(f64, OptionKind, Line)| {
                    line.amount * black76(price, *strike, 0.0, 0.0, *kind)
                };
                expiry.lines.iter().map(one).sum()
            };
            let strikes = expiry.lines.iter().map(|line| payoff(line.0));
            strikes.fold(payoff(0.0), f64::min)
                + ratio(unpaired) * expiry.forward(1.0) * calls.min(0.0)
        };
        (
            isolated_im.max(bounded(p.unpaired_im)).min(0.0) - surcharge,
            isolated_mm.max(bounded(p.unpaired_mm)).min(0.0),
        )
    }

    fn standard_surcharge(&self, market: &UnderlyingState, confidence: f64) -> f64 {
        let p = &self.standard;
        let under = (ratio(p.depeg_threshold) - ratio(market.stable)).max(0.0);
        let missing = (1.0 - confidence) * ratio(p.confidence_margin);
        let missing = if confidence < ratio(p.confidence_threshold) {
            missing
        } else {
            0.0
        };
        under * ratio(p.depeg_factor) + missing
    }

    fn add_standard_linear(&self, market: &UnderlyingState, line: &Line, sum: &mut SlowResult) {
        let p = &self.standard;
        match line.terms.kind {
            InstrumentKind::Option { .. } => {}
            InstrumentKind::Perp => {
                let notional = line.amount.abs() * dollars(market.perp);
                let feeds = ratio(market.spot_confidence).min(ratio(market.perp_confidence));
                let at_spot = line.amount.abs() * dollars(market.spot);
                sum.im -= notional * ratio(p.perp_im);
                sum.im -= at_spot * self.standard_surcharge(market, feeds);
                sum.mm -= notional * ratio(p.perp_mm);
            }
            InstrumentKind::Collateral(asset) => {
                let worth = worth(market, line);
                let counted = worth * ratio(p.base_share);
                let feeds = ratio(market.spot_confidence).min(ratio(asset.confidence));
                let missing = (1.0 - feeds) * ratio(p.confidence_margin) * worth;
                let missing = if feeds < ratio(p.confidence_threshold) {
                    missing
                } else {
                    0.0
                };
                sum.im += counted * ratio(p.base_im_share) - missing;
                sum.mm += counted;
                sum.equity += worth;
            }
        }
    }

    /// Value of one lot at the mark, in USDC.
    pub fn mark_per_lot(&self, instrument: InstrumentId) -> f64 {
        self.portfolio(&[(instrument, 1)], 0.0).equity
    }
}

fn option_of(line: &Line, expiry: TimeMs) -> Option<(f64, OptionKind, Line)> {
    match line.terms.kind {
        InstrumentKind::Option {
            expiry: own,
            strike,
            kind,
        } if own == expiry => Some((dollars(strike), kind, *line)),
        _ => None,
    }
}

/// What collateral is worth in stablecoins.
fn worth(market: &UnderlyingState, line: &Line) -> f64 {
    match line.terms.kind {
        InstrumentKind::Collateral(CollateralTerms { price, .. }) => {
            line.amount * dollars(price) / ratio(market.stable)
        }
        _ => 0.0,
    }
}

/// What spot factors apply to besides options.
fn moving(market: &UnderlyingState, line: &Line) -> f64 {
    match line.terms.kind {
        InstrumentKind::Option { .. } => 0.0,
        InstrumentKind::Perp => line.amount * dollars(market.perp),
        InstrumentKind::Collateral(asset) => {
            if asset.risk_cancelling {
                worth(market, line)
            } else {
                0.0
            }
        }
    }
}

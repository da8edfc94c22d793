//! The listed instruments by name and by id, kept from the view at start and from events since.

use std::collections::BTreeMap;

use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{InstrumentId, TimeMs, UnderlyingId};

use crate::names;
use crate::view::{Instrument, Underlying, View};

/// Settled instruments whose names are still known, for history.
const SETTLED_MAX: usize = 20_000;

/// A listed instrument with its name.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Id, terms, whether it is open, when it was listed.
    pub instrument: Instrument,
    /// Its name.
    pub name: String,
}

/// The instruments and underlyings.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    underlyings: Vec<Underlying>,
    by_id: BTreeMap<InstrumentId, Listed>,
    by_name: BTreeMap<String, InstrumentId>,
}

impl Directory {
    /// What the view has now.
    pub fn read(view: &View<'_>) -> Self {
        let mut directory = Self {
            underlyings: view.underlyings(),
            ..Self::default()
        };
        for instrument in view.instruments() {
            directory.insert(instrument);
        }
        directory
    }

    /// Takes in a newly listed instrument.
    pub fn list(&mut self, id: InstrumentId, terms: OptionTerms, at: TimeMs) {
        let instrument = Instrument {
            id,
            terms,
            open: true,
            listed_at: at,
        };
        self.insert(instrument);
    }

    fn insert(&mut self, instrument: Instrument) {
        let Some(underlying) = self.underlying(instrument.terms.underlying) else {
            return;
        };
        let name = names::option_name(&underlying.coin, &instrument.terms);
        self.by_name.insert(name.clone(), instrument.id);
        let listed = Listed { instrument, name };
        self.by_id.insert(instrument.id, listed);
    }

    /// Marks an instrument as settled. Its name goes on resolving until many others have settled.
    pub fn settle(&mut self, id: InstrumentId) {
        if let Some(listed) = self.by_id.get_mut(&id) {
            listed.instrument.open = false;
        }
        let settled = self.by_id.values().filter(|l| !l.instrument.open);
        if settled.clone().count() > SETTLED_MAX
            && let Some(oldest) = settled.map(|l| l.instrument.id).next()
            && let Some(listed) = self.by_id.remove(&oldest)
        {
            self.by_name.remove(&listed.name);
        }
    }

    /// An underlying by id.
    pub fn underlying(&self, id: UnderlyingId) -> Option<&Underlying> {
        self.underlyings.iter().find(|u| u.id == id)
    }

    /// All underlyings.
    pub fn underlyings(&self) -> &[Underlying] {
        &self.underlyings
    }

    /// The underlying with this coin (`BTC`), in any case.
    pub fn by_coin(&self, coin: &str) -> Option<&Underlying> {
        self.underlyings
            .iter()
            .find(|u| u.coin.eq_ignore_ascii_case(coin))
    }

    /// The underlying with this index (`btc_usdc`; Deribit's `btc_usd` is taken for the same).
    pub fn by_index(&self, index: &str) -> Option<&Underlying> {
        let coin = index
            .strip_suffix("_usdc")
            .or_else(|| index.strip_suffix("_usd"))?;
        self.by_coin(coin)
    }

    /// An instrument by id.
    pub fn get(&self, id: InstrumentId) -> Option<&Listed> {
        self.by_id.get(&id)
    }

    /// An instrument by name.
    pub fn find(&self, name: &str) -> Option<&Listed> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// An instrument's name; empty when it is not known.
    pub fn name(&self, id: InstrumentId) -> &str {
        self.by_id.get(&id).map_or("", |listed| &listed.name)
    }

    /// All instruments in listing order.
    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.by_id.values()
    }

    /// The coin of an instrument's underlying.
    pub fn coin(&self, id: InstrumentId) -> &str {
        self.get(id)
            .and_then(|listed| self.underlying(listed.instrument.terms.underlying))
            .map_or("", |underlying| &underlying.coin)
    }

    /// Whether an instrument belongs to a currency: its coin, its settlement currency, or any.
    pub fn in_currency(&self, id: InstrumentId, currency: &str) -> bool {
        is_settlement(currency) || self.coin(id).eq_ignore_ascii_case(currency)
    }
}

/// Whether a currency means every instrument: they all settle in USDC.
pub fn is_settlement(currency: &str) -> bool {
    currency.eq_ignore_ascii_case("USDC") || currency.eq_ignore_ascii_case("any")
}

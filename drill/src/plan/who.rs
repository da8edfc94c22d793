//! Whom a fault strikes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Topology;
use crate::market::Dice;

/// Whom a fault strikes. In a plan: `leader`, `random`, `random 2`, `all`, `same`, `site b`, `3`, `0 2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    /// The validator whose turn it is.
    Leader,
    /// So many, by the seed.
    Random(usize),
    /// Every validator.
    All,
    /// Whom the fault before struck.
    Same,
    /// A site's, by its place in the topology.
    Site(usize),
    /// These.
    Nodes(Vec<usize>),
}

/// What a choice may depend on.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The plan's topology.
    pub topology: &'a Topology,
    /// Who leads now.
    pub leader: usize,
    /// Whom the fault before struck.
    pub last: &'a [usize],
}

impl Who {
    /// Settles who it is.
    pub fn choose(&self, situation: &Situation<'_>, dice: &mut Dice) -> Vec<usize> {
        let count = usize::from(situation.topology.validators);
        match self {
            Self::Leader => vec![situation.leader],
            Self::Random(many) => {
                let mut left: Vec<usize> = (0..count).collect();
                let mut draw = || (!left.is_empty()).then(|| left.remove(dice.below(left.len())));
                let mut chosen: Vec<usize> = (0..*many).map_while(|_| draw()).collect();
                chosen.sort_unstable();
                chosen
            }
            Self::All => (0..count).collect(),
            Self::Same => situation.last.to_vec(),
            Self::Site(_) | Self::Nodes(_) => self.named(situation.topology),
        }
    }

    /// The validators that it names, if it names any.
    pub fn named(&self, topology: &Topology) -> Vec<usize> {
        match self {
            Self::Site(place) => topology.sites.get(*place).cloned().unwrap_or_default(),
            Self::Nodes(nodes) => nodes.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether it names a site that the topology has not got.
    pub fn lacks_site(&self, topology: &Topology) -> bool {
        matches!(self, Self::Site(place) if *place >= topology.sites.len())
    }
}

/// The letter of a site.
fn letter(place: usize) -> char {
    char::from(b'a' + (place as u8).min(25))
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("leader"),
            Self::Random(1) => f.write_str("random"),
            Self::Random(many) => write!(f, "random {many}"),
            Self::All => f.write_str("all"),
            Self::Same => f.write_str("same"),
            Self::Site(place) => write!(f, "site {}", letter(*place)),
            Self::Nodes(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(usize::to_string).collect();
                f.write_str(&nodes.join(" "))
            }
        }
    }
}

impl From<Who> for String {
    fn from(who: Who) -> Self {
        who.to_string()
    }
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "`{text}` is nobody: leader, random, random 2, all, same, site a, or numbers such as 0 2"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<usize>().map_err(|_| unknown());
        Ok(match words.as_slice() {
            ["leader"] => Self::Leader,
            ["random"] => Self::Random(1),
            ["random", many] => Self::Random(number(many)?),
            ["all"] => Self::All,
            ["same"] => Self::Same,
            ["site", name] => match name.as_bytes() {
                [letter @ b'a'..=b'z'] => Self::Site(usize::from(letter - b'a')),
                _ => return Err(unknown()),
            },
            [] => return Err(unknown()),
            numbers => {
                let nodes: Result<Vec<usize>, String> =
                    numbers.iter().map(|word| number(word)).collect();
                Self::Nodes(nodes?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_as_it_is_written() {
        for text in [
            "leader", "random", "random 2", "all", "same", "site b", "3", "0 2",
        ] {
            let who: Who = text.parse().expect("somebody");
            assert_eq!(who.to_string(), text);
        }
        for text in ["", "site", "site B", "x", "1 x", "random x"] {
            assert!(text.parse::<Who>().is_err(), "{text}");
        }
    }

    #[test]
    fn choices_follow_the_situation_and_the_seed() {
        let topology = Topology {
            sites: vec![vec![0], vec![1, 2]],
            ..Topology::default()
        };
        let situation = Situation {
            topology: &topology,
            leader: 3,
            last: &[1],
        };
        let choose = |text: &str, seed| {
            let who: Who = text.parse().expect("somebody");
            who.choose(&situation, &mut Dice::new(seed))
        };
        assert_eq!(choose("leader", 0), [3]);
        assert_eq!(choose("same", 0), [1]);
        assert_eq!(choose("site b", 0), [1, 2]);
        assert_eq!(choose("all", 0), [0, 1, 2, 3]);
        let pairs: Vec<Vec<usize>> = (0..20).map(|seed| choose("random 2", seed)).collect();
        assert!(
            pairs
                .iter()
                .all(|pair| pair.len() == 2 && pair[0] < pair[1] && pair[1] < 4)
        );
        assert!(pairs.iter().any(|pair| *pair != pairs[0]));
        assert_eq!(choose("random 9", 1).len(), 4);
    }
}

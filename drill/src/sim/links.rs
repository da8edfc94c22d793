//! The simulated network as a plan leaves it.

use lifeboat_node::sim::{Cluster, LinkQuality};

/// Every link's state.
#[derive(Clone, Debug)]
pub struct Links {
    quality: LinkQuality,
    /// Cut from the first to the second.
    cuts: Vec<Vec<bool>>,
    /// Halted: hears nobody and is not heard.
    halted: Vec<bool>,
}

impl Links {
    /// All good.
    pub fn new(validators: usize) -> Self {
        Self {
            quality: LinkQuality::default(),
            cuts: vec![vec![false; validators]; validators],
            halted: vec![false; validators],
        }
    }

    /// Cuts what is said from one set to the other.
    pub fn cut(&mut self, from: &[usize], to: impl Fn(usize) -> bool) {
        for from in from {
            for (place, cut) in self.cuts[*from].iter_mut().enumerate() {
                *cut |= place != *from && to(place);
            }
        }
    }

    /// Cuts both ways between these and the others.
    pub fn part(&mut self, left: &[usize]) {
        let right: Vec<usize> = (0..self.cuts.len())
            .filter(|one| !left.contains(one))
            .collect();
        self.cut(left, |place| right.contains(&place));
        self.cut(&right, |place| left.contains(&place));
    }

    /// All links get slow and lossy; the delay of each message differs, so they overtake each other.
    pub fn worsen(&mut self, loss_ppm: u32, latency_ms: u64) {
        self.quality = LinkQuality {
            latency_ms,
            jitter_ms: latency_ms / 3,
            loss_ppm,
        };
    }

    /// Good again, but for those that are halted.
    pub fn heal(&mut self) {
        let halted = std::mem::take(&mut self.halted);
        *self = Self {
            halted,
            ..Self::new(self.cuts.len())
        };
    }

    /// Halts, or lets go on.
    pub fn halt(&mut self, who: &[usize], halted: bool) {
        for place in who {
            self.halted[*place] = halted;
        }
    }

    /// Makes the network so.
    pub async fn set(&self, cluster: &Cluster) {
        for (from, cuts) in self.cuts.iter().enumerate() {
            for (to, cut) in cuts.iter().enumerate().filter(|(to, _)| *to != from) {
                let passes = !cut && !self.halted[from] && !self.halted[to];
                cluster.link(from, to, passes.then_some(self.quality)).await;
            }
        }
    }
}

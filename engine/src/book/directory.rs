//! Where a side's pages are: a 64-way radix tree over page numbers, as high as its pages need.

use super::slab::NONE;
use alloc::vec::Vec;

/// Bits of a page number that one tree level decides.
const DIGIT_BITS: u32 = 6;
/// Levels that the largest page number needs (26 bits).
const HEIGHT_MAX: usize = 5;

/// A tree node: which children there are, and their indices (nodes, or pages at height 1).
#[derive(Clone, Debug)]
struct Node {
    bits: u64,
    child: [u32; 64],
}

/// The root of one side's tree. A tree of height 0 is a single page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    /// The top node, the only page, or `NONE`.
    index: u32,
    height: u32,
    /// The leading digits that all its page numbers share.
    prefix: u32,
}

impl Root {
    /// A tree without pages.
    pub(super) const EMPTY: Self = Self {
        index: NONE,
        height: 0,
        prefix: 0,
    };

    const fn covers(self, number: u32) -> bool {
        number.wrapping_shr(self.height.wrapping_mul(DIGIT_BITS)) == self.prefix
    }
}

/// The tree nodes of all sides of all books, pooled.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

/// The digit of `number` that a node at `height` (1 and up) decides.
#[inline]
const fn digit(number: u32, height: u32) -> u32 {
    number.wrapping_shr(height.wrapping_sub(1).wrapping_mul(DIGIT_BITS)) & 63
}

#[inline]
const fn bit(index: u32) -> u64 {
    1u64.wrapping_shl(index)
}

impl Directory {
    /// The page with this number.
    pub(super) fn find(&self, root: Root, number: u32) -> Option<u32> {
        if root.index == NONE || !root.covers(number) {
            return None;
        }
        let mut index = root.index;
        for height in (1..=root.height).rev() {
            index = self.child(index, digit(number, height))?;
        }
        Some(index)
    }

    /// The page with the smallest number.
    pub(super) fn first(&self, root: Root) -> Option<u32> {
        (root.index != NONE).then_some(())?;
        self.leftmost(root.index, root.height)
    }

    /// The page with the smallest number above `number`.
    pub(super) fn after(&self, root: Root, number: u32) -> Option<u32> {
        (root.index != NONE && root.covers(number)).then_some(())?;
        let (mut index, mut higher) = (root.index, None);
        for height in (1..=root.height).rev() {
            let digit = digit(number, height);
            let above = self.bits(index) & u64::MAX.wrapping_shl(digit) & !bit(digit);
            if above != 0 {
                higher = Some((
                    self.child(index, above.trailing_zeros())?,
                    height.wrapping_sub(1),
                ));
            }
            let Some(child) = self.child(index, digit) else {
                break;
            };
            index = child;
        }
        let (index, height) = higher?;
        self.leftmost(index, height)
    }

    /// Enters a page under a number that is not in the tree.
    pub(super) fn enter(&mut self, root: &mut Root, number: u32, page: u32) {
        if root.index == NONE {
            *root = Root {
                index: page,
                height: 0,
                prefix: number,
            };
            return;
        }
        while !root.covers(number) {
            let node = self.allocate();
            self.set(node, root.prefix & 63, root.index);
            *root = Root {
                index: node,
                height: root.height.wrapping_add(1),
                prefix: root.prefix >> DIGIT_BITS,
            };
        }
        let mut index = root.index;
        for height in (2..=root.height).rev() {
            let digit = digit(number, height);
            index = self.child(index, digit).unwrap_or_else(|| {
                let node = self.allocate();
                self.set(index, digit, node);
                node
            });
        }
        self.set(index, digit(number, 1), page);
    }

    /// Takes a page's number out and gives back the nodes that are no longer needed.
    pub(super) fn leave(&mut self, root: &mut Root, number: u32) {
        if root.index == NONE || !root.covers(number) {
            return;
        }
        let (path, mut emptied) = (self.path(*root, number), true);
        for (height, index) in (1..=root.height).zip(path) {
            if emptied {
                emptied = self.clear(index, digit(number, height)) == 0;
                if emptied {
                    self.free.push(index);
                }
            }
        }
        if emptied {
            *root = Root::EMPTY;
        }
        self.lower(root);
    }

    /// The nodes from the page's parent up to the root.
    fn path(&self, root: Root, number: u32) -> [u32; HEIGHT_MAX] {
        let mut path = [NONE; HEIGHT_MAX];
        let mut index = root.index;
        for height in (1..=root.height).rev() {
            if let Some(place) = path.get_mut(height.wrapping_sub(1) as usize) {
                *place = index;
            }
            index = self.child(index, digit(number, height)).unwrap_or(NONE);
        }
        path
    }

    /// Drops top nodes that have a single child.
    fn lower(&mut self, root: &mut Root) {
        while root.height > 0 && self.bits(root.index).is_power_of_two() {
            let digit = self.bits(root.index).trailing_zeros();
            let Some(child) = self.child(root.index, digit) else {
                return;
            };
            self.clear(root.index, digit);
            self.free.push(root.index);
            *root = Root {
                index: child,
                height: root.height.wrapping_sub(1),
                prefix: (root.prefix << DIGIT_BITS) | digit,
            };
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let nodes = self.nodes.capacity().saturating_mul(size_of::<Node>());
        nodes.saturating_add(self.free.capacity().saturating_mul(size_of::<u32>()))
    }

    fn leftmost(&self, mut index: u32, height: u32) -> Option<u32> {
        for _ in 0..height {
            index = self.child(index, self.bits(index).trailing_zeros())?;
        }
        Some(index)
    }

    fn bits(&self, node: u32) -> u64 {
        self.nodes.get(node as usize).map_or(0, |node| node.bits)
    }

    fn child(&self, node: u32, digit: u32) -> Option<u32> {
        let node = self.nodes.get(node as usize)?;
        (node.bits & bit(digit) != 0).then_some(())?;
        node.child.get(digit as usize).copied()
    }

    fn set(&mut self, node: u32, digit: u32, child: u32) {
        let Some(node) = self.nodes.get_mut(node as usize) else {
            return;
        };
        if let Some(place) = node.child.get_mut(digit as usize) {
            *place = child;
            node.bits |= bit(digit);
        }
    }

    /// Removes a child and returns which are left.
    fn clear(&mut self, node: u32, digit: u32) -> u64 {
        let Some(node) = self.nodes.get_mut(node as usize) else {
            return 0;
        };
        node.bits &= !bit(digit);
        node.bits
    }

    /// An empty node. There are at most four a page, so its index always fits.
    fn allocate(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let index = self.nodes.len() as u32;
        self.nodes.push(Node {
            bits: 0,
            child: [NONE; 64],
        });
        index
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Who owns children: a record for each group.
//!
//! The children of a group, and its subgroups, lead to its record, not to the group. Offline merges the record
//! into that of the parent: one of the two leads to the other from then on, for ever, and the last of such
//! a chain, its *head*, has the number of the online group. So what the group had inherited is not touched. The
//! record to which fewer were merged leads to the other one, so that a chain has at most as many links as
//! the binary logarithm of the number of groups that ever were.
//!
//! A link is set once and each record keeps those behind it alive, so the owner can be read without a lock.

use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
        LockedBy,
        SetOnce,
        SpinLockIrq, //
    },
};

/// Children by their numbers.
pub(super) type Children<C> = RBTree<u64, Arc<C>>;

/// Who owns the `C`s of a group: the group, and from its offline on whoever inherits them. `T` is what the
/// lock of the tree protects.
pub(super) struct Owner<C, T> {
    /// Number of the group. It changes under the lock of the tree, and is valid in a head only.
    number: Atomic<u64>,
    /// The record that it was merged into; none for a head. The last `Arc` of a record drops one of the
    /// next, and so on: no deeper than a chain is long.
    next: SetOnce<Arc<Self>>,
    owned: LockedBy<Owned<C>, T>,
}

struct Owned<C> {
    /// The children that the group of this record has published.
    children: Children<C>,
    /// Of a head: how many children the owner has, inherited ones too.
    count: usize,
    /// Of a head: how many records lead to it, itself among them.
    records: u64,
}

impl<C: Send + Sync, T> Owner<C, T> {
    pub(super) fn new(number: u64, tree: &SpinLockIrq<T>) -> Self {
        let owned = Owned {
            children: RBTree::new(),
            count: 0,
            records: 1,
        };
        Self {
            number: Atomic::new(number),
            next: SetOnce::new(),
            owned: LockedBy::new(tree, owned),
        }
    }

    /// The last record of the chain. It stays that for as long as the lock of the tree is held. Context: any.
    #[inline(always)]
    pub(super) fn head(self: &Arc<Self>) -> &Arc<Self> {
        let mut at = self;
        while let Some(next) = at.next.as_ref() {
            at = next;
        }
        at
    }

    /// Of a head: number of the group that is the owner now.
    #[inline(always)]
    pub(super) fn number_of_head(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// Number of the group that is the owner now. Context: any.
    #[inline(always)]
    pub(super) fn number(self: &Arc<Self>) -> u64 {
        self.head().number_of_head()
    }

    /// How many children the owner has.
    pub(super) fn count(self: &Arc<Self>, tree: &T) -> usize {
        self.head().owned.access(tree).count
    }

    /// The children that the group of this record has published.
    #[inline]
    pub(super) fn children<'a>(&'a self, tree: &'a T) -> &'a Children<C> {
        &self.owned.access(tree).children
    }

    /// Calls `f`, which adds a child to those of the group of this record, unless it fails.
    pub(super) fn add(
        self: &Arc<Self>,
        tree: &mut T,
        f: impl FnOnce(&mut Children<C>) -> Result,
    ) -> Result {
        f(&mut self.owned.access_mut(tree).children)?;
        self.head().owned.access_mut(tree).count += 1;
        Ok(())
    }

    /// Takes a child of the group of this record away from its owner; none where it was not added.
    pub(super) fn remove(self: &Arc<Self>, tree: &mut T, number: u64) -> Option<Arc<C>> {
        let child = self.owned.access_mut(tree).children.remove(&number)?;
        self.head().owned.access_mut(tree).count -= 1;
        Some(child)
    }

    /// What `self` owned belongs to the owner `parent` from here. Both are heads.
    #[inline]
    pub(super) fn merge(self: &Arc<Self>, parent: &Arc<Self>, tree: &mut T) {
        let Owned { count, records, .. } = *self.owned.access(tree);
        let upper = parent.owned.access_mut(tree);
        let count = count + upper.count;
        let sum = records + upper.records;
        let (from, into) = if records <= upper.records {
            (self, parent)
        } else {
            // Before the link, which a reader may follow at once.
            self.number.store(parent.number_of_head(), Relaxed);
            (parent, self)
        };
        let owned = into.owned.access_mut(tree);
        owned.count = count;
        owned.records = sum;
        // A head leads nowhere, and heads are merged under the lock.
        kernel::warn_on!(!from.next.populate(into.clone()));
    }
}

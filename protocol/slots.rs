// SPDX-License-Identifier: GPL-2.0

//! The lookup of a root, a slot for each group's child; and the indices of groups in it.

use crate::abstractions::{
    ida::Ida,
    sync::rcu::{
        array::{
            self,
            Place,
            RcuArray, //
        },
        slot::{
            RcuSlot,
            Reader, //
        }, //
    }, //
};
use kernel::{
    alloc::{flags::__GFP_NOWARN, Flags},
    prelude::*,
    sync::atomic::{Atomic, AtomicFlag, Relaxed},
    types::ScopeGuard, //
};

pub(super) use crate::abstractions::sync::rcu::array::Index;

/// How many groups there can be, the top of the tree not counted.
pub const MAX_GROUPS: usize = array::LEN;

/// A slot for each group's child.
///
/// The memory for 256 of them is allocated when one is needed, and lives as long as the root. The smallest index is used
/// first, so that it follows the number of groups.
pub(super) struct Slots<T> {
    array: RcuArray<T>,
}

/// The place of one group's child.
pub(super) struct Slot<'a, T> {
    pub(super) child: &'a RcuSlot<T>,
    /// A creation is queued, or runs.
    pub(super) requested: &'a AtomicFlag,
}

impl<'a, T> From<Place<'a, T>> for Slot<'a, T> {
    fn from(place: Place<'a, T>) -> Self {
        Self {
            child: place.entry,
            requested: place.flag,
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn new() -> impl Init<Self> {
        init!(Self { array <- RcuArray::new() })
    }

    /// The child of a group. Context: any; it can be used until the end of the read-side critical section.
    #[inline(always)]
    pub(super) fn load<'a>(&'a self, index: Index, reader: &'a impl Reader) -> Option<&'a T> {
        self.array.load(index, reader)
    }

    /// The slot of a group; none where its memory was not allocated yet.
    pub(super) fn get(&self, index: Index) -> Option<Slot<'_, T>> {
        self.array.get(index).map(Slot::from)
    }

    /// The slot of a group; allocates its memory. Context: as `flags` say.
    pub(super) fn get_or_make(&self, index: Index, flags: Flags) -> Result<Slot<'_, T>> {
        Ok(self.array.get_or_make(index, flags)?.into())
    }
}

/// The indices of all groups.
#[pin_data]
pub(super) struct Indices {
    #[pin]
    used: Ida,
    count: Atomic<usize>,
    limit: Atomic<usize>,
}

impl Indices {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            used <- Ida::new(),
            count: Atomic::new(0),
            limit: Atomic::new(MAX_GROUPS),
        })
    }

    /// Takes an index. Context: any. It may need memory, and is called with locks held.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the limit is reached. `ENOMEM`.
    pub(super) fn alloc(&self) -> Result<Index> {
        let give_back = ScopeGuard::new(|| {
            self.count.fetch_sub(1, Relaxed);
        });
        if self.count.fetch_add(1, Relaxed) >= self.limit() {
            return Err(ENOSPC);
        }
        let flags = GFP_ATOMIC | __GFP_NOWARN;
        let index = self.used.alloc_max(MAX_GROUPS as u32 - 1, flags)?;
        // Not out of range, by the line above.
        let index = Index::new(index).ok_or(ENOSPC)?;
        give_back.dismiss();
        Ok(index)
    }

    /// Gives an index back. Context: any.
    pub(super) fn free(&self, index: Index) {
        self.used.free(index.get());
        self.count.fetch_sub(1, Relaxed);
    }

    /// Is there an index to be had? A snapshot. Context: any.
    pub(super) fn has_room(&self) -> bool {
        self.count.load(Relaxed) < self.limit()
    }

    /// How many groups there may be.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Changes that, up to [`MAX_GROUPS`]. Groups that are more already stay.
    pub(super) fn set_limit(&self, groups: usize) {
        self.limit.store(groups.min(MAX_GROUPS), Relaxed);
    }
}

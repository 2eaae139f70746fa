// SPDX-License-Identifier: GPL-2.0

//! The lookup of a root: a slot for each group's child, by the index of the group.

use crate::abstractions::{
    once_box::OnceBox,
    rcu_slot::RcuSlot, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::atomic::AtomicFlag, //
};

/// How many groups there can be, the top of the tree not counted.
pub const MAX_GROUPS: usize = 1 << 16;

/// How many slots are allocated together: about a page of them.
const CHUNK: usize = 256;

/// An array of slots in chunks, which are allocated when they are needed and live as long as the
/// root. A lookup is two loads, however many groups there are.
pub(super) struct Slots<T> {
    chunks: [OnceBox<Chunk<T>>; MAX_GROUPS / CHUNK],
}

struct Chunk<T> {
    children: [RcuSlot<T>; CHUNK],
    requested: [AtomicFlag; CHUNK],
}

/// The place of one group's child.
pub(super) struct Slot<'a, T> {
    pub(super) child: &'a RcuSlot<T>,
    /// A creation is queued, or runs.
    pub(super) requested: &'a AtomicFlag,
}

impl<T> Slots<T> {
    pub(super) fn new() -> impl Init<Self> {
        init!(Self {
            chunks <- pin_init::init_array_from_fn(|_| OnceBox::new()),
        })
    }

    /// The slot of a group; none where its chunk was not allocated yet.
    #[inline]
    pub(super) fn get(&self, index: u16) -> Option<Slot<'_, T>> {
        // Neither index can be out of range: a `u16` has no more bits than `MAX_GROUPS` asks for.
        let index = usize::from(index);
        let chunk = self.chunks[index / CHUNK].get()?;
        Some(Slot {
            child: &chunk.children[index % CHUNK],
            requested: &chunk.requested[index % CHUNK],
        })
    }

    /// The slot of a group; allocates its chunk. Context: as `flags` say.
    pub(super) fn get_or_make(&self, index: u16, flags: Flags) -> Result<Slot<'_, T>> {
        if self.get(index).is_none() {
            let chunk = KBox::init(
                init!(Chunk {
                    children <- pin_init::init_array_from_fn(|_| RcuSlot::new()),
                    requested <- pin_init::init_array_from_fn(|_| AtomicFlag::new(false)),
                }),
                flags,
            )?;
            // Another allocation of the same chunk may have come first; then this one is dropped.
            self.chunks[usize::from(index) / CHUNK].populate(chunk);
        }
        self.get(index).ok_or(EAGAIN)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A large array of [`RcuSlot`]s, whose memory is allocated in chunks when it is needed.
//!
//! It is a radix tree of fixed height: the array has the tables, a table has the chunks, and a
//! chunk has the slots. What was not allocated is not a null pointer, but one shared table or chunk
//! without a value. So a lookup tests nothing on its way down: it is three loads, and fewer
//! instructions than two levels with a test each. The in-tree `XArray` grows in height, and
//! `xa_load()` is a call and a loop.
//!
//! Tables and chunks live as long as the array: a lookup, and what [`RcuArray::get`] returns, may
//! be anywhere in them.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc};
//! use rust_kmemcg::abstractions::sync::rcu::{array::*, slot};
//!
//! fn example() -> Result {
//!     let array = KBox::init(RcuArray::new(), GFP_KERNEL)?;
//!     let index = Index::new(1_000_000).ok_or(EINVAL)?;
//!     assert!(array.get(index).is_none());
//!     let place = array.get_or_make(index, GFP_KERNEL)?;
//!     place.entry.publish(Arc::new(42, GFP_KERNEL)?).map_err(|_| EEXIST)?;
//!     assert_eq!(slot::read(|reader| array.load(index, reader).copied()), Some(42));
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```

use super::slot::{RcuSlot, Reader};
use core::{marker::PhantomData, ptr};
use kernel::{
    alloc::{AllocError, Flags},
    prelude::*,
    sync::atomic::{Acquire, Atomic, AtomicFlag, Full},
};

/// Slots of a chunk: a byte of the index, and about a page of memory.
const SLOTS: usize = 1 << 8;

/// Chunks of a table: the next byte.
const CHUNKS: usize = 1 << 8;

/// Tables of an array.
const TABLES: usize = 1 << 4;

/// Slots of an array.
pub const LEN: usize = TABLES * CHUNKS * SLOTS;

/// Where a slot is in an array.
///
/// # Invariants
///
/// It is less than [`LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index(u32);

impl Index {
    /// None where there is no such slot.
    pub const fn new(index: u32) -> Option<Self> {
        // INVARIANT: Tested here.
        if (index as usize) < LEN {
            Some(Self(index))
        } else {
            None
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    #[inline(always)]
    fn table(self) -> usize {
        self.0 as usize / (CHUNKS * SLOTS)
    }

    #[inline(always)]
    fn chunk(self) -> usize {
        self.0 as usize / SLOTS % CHUNKS
    }

    #[inline(always)]
    fn slot(self) -> usize {
        self.0 as usize % SLOTS
    }
}

#[repr(C)]
struct Chunk<T> {
    slots: [RcuSlot<T>; SLOTS],
    flags: [AtomicFlag; SLOTS],
}

#[repr(C)]
struct Table<T> {
    chunks: [Atomic<*mut Chunk<T>>; CHUNKS],
}

/// What stands for each chunk that was not allocated. No slot of it is ever filled: only readers
/// get there.
static NO_CHUNK: Chunk<()> = Chunk {
    slots: [const { RcuSlot::new() }; SLOTS],
    flags: [const { AtomicFlag::new(false) }; SLOTS],
};

/// What stands for each table that was not allocated. It does not change.
static NO_TABLE: Table<()> = Table {
    chunks: [const { Atomic::new(ptr::from_ref(&NO_CHUNK).cast_mut()) }; CHUNKS],
};

/// No `T` is in there, and a slot is a pointer, whatever `T` is.
fn no_chunk<T>() -> *mut Chunk<T> {
    ptr::from_ref(&NO_CHUNK).cast_mut().cast()
}

fn no_table<T>() -> *mut Table<T> {
    ptr::from_ref(&NO_TABLE).cast_mut().cast()
}

/// An array of [`LEN`] slots, each with a flag for its user.
///
/// # Invariants
///
/// Each of `tables` is `NO_TABLE`, or came from [`KBox::into_raw`], is owned, and does not change
/// before the drop. The same holds for the chunks of a table, with `NO_CHUNK`.
pub struct RcuArray<T> {
    tables: [Atomic<*mut Table<T>>; TABLES],
    _owns: PhantomData<Chunk<T>>,
}

// SAFETY: Owns slots.
unsafe impl<T: Send + Sync> Send for RcuArray<T> {}
// SAFETY: Shares slots, by pointers that are atomic.
unsafe impl<T: Send + Sync> Sync for RcuArray<T> {}

/// A slot, and its flag.
pub struct Place<'a, T> {
    /// The slot.
    pub entry: &'a RcuSlot<T>,
    /// The flag, which is false at first.
    pub flag: &'a AtomicFlag,
}

impl<T> RcuArray<T> {
    /// An array of empty slots.
    pub fn new() -> impl Init<Self> {
        init!(Self {
            // INVARIANT: None is allocated.
            tables <- pin_init::init_array_from_fn(|_| Atomic::new(no_table())),
            _owns: PhantomData,
        })
    }

    #[inline(always)]
    fn table(&self, index: Index) -> &Atomic<*mut Table<T>> {
        // SAFETY: The index is less than `LEN`, by its type invariants.
        unsafe { self.tables.get_unchecked(index.table()) }
    }

    #[inline(always)]
    fn chunk(&self, index: Index) -> &Atomic<*mut Chunk<T>> {
        // SAFETY: Ours, or the static, by the type invariants; neither is freed while `self` is
        // borrowed.
        let table = unsafe { &*self.table(index).load(Acquire) };
        &table.chunks[index.chunk()]
    }

    /// Loads a slot: three loads. Context: any; the result can be used until the end of the
    /// read-side critical section.
    #[inline(always)]
    pub fn load<'a>(&'a self, index: Index, reader: &'a impl Reader) -> Option<&'a T> {
        // SAFETY: As in `chunk()`. In the static all slots are empty.
        let chunk = unsafe { &*self.chunk(index).load(Acquire) };
        chunk.slots[index.slot()].load(reader)
    }

    /// A slot; none where its chunk was not allocated. Context: any.
    pub fn get(&self, index: Index) -> Option<Place<'_, T>> {
        let chunk = self.chunk(index).load(Acquire);
        if chunk == no_chunk() {
            return None;
        }
        // SAFETY: Not the static, so it is ours, by the type invariants.
        let chunk = unsafe { &*chunk };
        Some(Place {
            entry: &chunk.slots[index.slot()],
            flag: &chunk.flags[index.slot()],
        })
    }

    /// A slot, whose chunk is allocated where it was not. Context: as `flags` say.
    pub fn get_or_make(&self, index: Index, flags: Flags) -> Result<Place<'_, T>, AllocError> {
        if self.table(index).load(Acquire) == no_table() {
            let table = KBox::init(
                init!(Table {
                    chunks <- pin_init::init_array_from_fn(|_| Atomic::new(no_chunk())),
                }),
                flags,
            )
            .map_err(|_| AllocError)?;
            populate(self.table(index), no_table(), table);
        }
        if self.chunk(index).load(Acquire) == no_chunk() {
            let chunk = KBox::init(
                init!(Chunk {
                    slots <- pin_init::init_array_from_fn(|_| RcuSlot::new()),
                    flags <- pin_init::init_array_from_fn(|_| AtomicFlag::new(false)),
                }),
                flags,
            )
            .map_err(|_| AllocError)?;
            populate(self.chunk(index), no_chunk(), chunk);
        }
        self.get(index).ok_or(AllocError)
    }
}

/// Replaces `none` by `new`. Where somebody else was faster, `new` is dropped.
fn populate<V>(place: &Atomic<*mut V>, none: *mut V, new: KBox<V>) {
    let new = KBox::into_raw(new);
    // INVARIANT: Where the exchange succeeds, the place owns the box.
    if place.cmpxchg(none, new, Full).is_err() {
        // SAFETY: From `KBox::into_raw()` above; the place did not take it.
        drop(unsafe { KBox::from_raw(new) });
    }
}

impl<T> Drop for RcuArray<T> {
    fn drop(&mut self) {
        for table in &self.tables {
            let table = table.load(Acquire);
            if table == no_table() {
                continue;
            }
            // SAFETY: Not the static, so it is ours, by the type invariants; not used again.
            let table = unsafe { KBox::from_raw(table) };
            for chunk in &table.chunks {
                let chunk = chunk.load(Acquire);
                if chunk != no_chunk() {
                    // SAFETY: As above.
                    drop(unsafe { KBox::from_raw(chunk) });
                }
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A hash table that readers search under RCU, without a lock and without writing.
//!
//! The keys are numbers. The number of buckets is fixed, and each is a list: with at most as many
//! entries as buckets a search is two loads and a comparison. Writers take a spinlock, in any
//! context. A value that they remove is dropped after a grace period, in an RCU callback.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::sync::rcu::{call_rcu::Callbacks, hash::*, slot};
//!
//! fn example(callbacks: &Callbacks) -> Result {
//!     let hash = KBox::pin_init(RcuHash::new(10, callbacks), GFP_KERNEL)?;
//!     let memory = Reservation::new(GFP_KERNEL)?;
//!     let mut writer = hash.lock();
//!     writer.insert(memory.into_entry(42, "answer")).map_err(|_| EEXIST)?;
//!     drop(writer);
//!     slot::read(|reader| {
//!         let found = hash.get(42, reader);
//!         assert!(hash.lock().remove(42)); // Dropped after a grace period, so after this closure.
//!         assert_eq!(found, Some(&"answer"));
//!     });
//!     Ok(())
//! }
//! ```
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h), which does the same for
//! lists

use super::{
    call_rcu::{
        Callbacks,
        InCallback,
        RcuCallback,
        RcuHead, //
    },
    slot::Reader, //
};
use crate::impl_has_rcu_head;
use core::{marker::PhantomData, mem::MaybeUninit, ptr};
use kernel::{
    alloc::{AllocError, Flags},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        lock::{spinlock::SpinLockIrqBackend, Guard},
        new_spinlock_irq, SpinLockIrq,
    },
};

/// A pointer to the next entry of a bucket, or null.
type Link<T> = Atomic<*mut Entry<T>>;

/// An entry of an [`RcuHash`].
#[pin_data]
pub struct Entry<T> {
    #[pin]
    rcu: RcuHead<Entry<T>>,
    next: Link<T>,
    key: u64,
    value: T,
}

impl_has_rcu_head! { impl{T} HasRcuHead for Entry<T> { self.rcu } }

// SAFETY: Owns a `T`. The link is used by the table only, which requires `T: Send + Sync`.
unsafe impl<T: Send> Send for Entry<T> {}
// SAFETY: Gives shared access to the `T`. The link is used by the table only, which requires
// `T: Send + Sync`.
unsafe impl<T: Sync> Sync for Entry<T> {}

impl<T: Send + Sync + 'static> RcuCallback for Entry<T> {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>, _cx: InCallback<'_>) {
        drop(this);
    }
}

/// Memory for an entry, so that no allocation is needed while a lock is held.
pub struct Reservation<T>(KBox<MaybeUninit<Entry<T>>>);

impl<T> Reservation<T> {
    /// Allocates it. Context: as `flags` say.
    pub fn new(flags: Flags) -> Result<Self, AllocError> {
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Makes the entry. Context: any.
    pub fn into_entry(self, key: u64, value: T) -> Pin<KBox<Entry<T>>> {
        let init = pin_init!(Entry {
            rcu <- RcuHead::new(),
            next: Atomic::new(ptr::null_mut()),
            key,
            value,
        });
        match self.0.write_pin_init(init) {
            Ok(entry) => entry,
            Err(never) => match never {},
        }
    }
}

/// A hash table whose readers are protected by RCU.
///
/// A value that is removed is dropped by an RCU callback: its destructor must not sleep.
///
/// # Invariants
///
/// There are `1 << (64 - shift)` heads. Each starts a list of entries, which ends with null, of the
/// keys that belong there. The table owns each entry, as a `Pin<KBox>`; what it gives up is freed
/// after a grace period only. Links are written with `count` locked.
#[pin_data(PinnedDrop)]
pub struct RcuHash<T: Send + Sync + 'static> {
    heads: KVVec<Link<T>>,
    shift: u32,
    #[pin]
    count: SpinLockIrq<usize>,
    callbacks: Callbacks,
    _entries: PhantomData<T>,
}

// SAFETY: Owns `T`s, shares them with readers, and drops them on any CPU.
unsafe impl<T: Send + Sync + 'static> Send for RcuHash<T> {}
// SAFETY: Shares `T`s with readers, by links that are atomic, and drops them on any CPU.
unsafe impl<T: Send + Sync + 'static> Sync for RcuHash<T> {}

impl<T: Send + Sync + 'static> RcuHash<T> {
    /// Makes a table of `1 << bits` buckets. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `bits` is not from 1 to 20. `ENOMEM`.
    pub fn new(bits: u32, callbacks: &Callbacks) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            heads: {
                if !(1..=20).contains(&bits) {
                    return Err(EINVAL);
                }
                let mut heads = KVVec::with_capacity(1 << bits, GFP_KERNEL)?;
                for _ in 0..1 << bits {
                    // INVARIANT: An empty list.
                    heads.push(Atomic::new(ptr::null_mut()), GFP_KERNEL)?;
                }
                heads
            },
            // INVARIANT: So many heads were made above.
            shift: u64::BITS - bits,
            count <- new_spinlock_irq!(0, "RcuHash::count"),
            callbacks: callbacks.clone(),
            _entries: PhantomData,
        })
    }

    /// Finds a value. Context: any; the result can be used until the end of the read-side critical
    /// section.
    #[inline]
    pub fn get<'a>(&'a self, key: u64, _reader: &'a impl Reader) -> Option<&'a T> {
        // SAFETY: As long as the result is used, `_reader` holds every grace period open.
        unsafe { self.search(key) }
    }

    /// # Safety
    ///
    /// While the result is used, no grace period ends that begins meanwhile, or `count` is locked.
    #[inline]
    unsafe fn search(&self, key: u64) -> Option<&T> {
        let mut link = self.head(key);
        // SAFETY: Null or an entry, by the type invariants. If it is removed meanwhile, it is freed
        // after a grace period, and so is every entry that it links to; the caller guarantees that
        // this does not end, or that nothing is removed.
        while let Some(entry) = unsafe { link.load(Acquire).as_ref() } {
            if entry.key == key {
                return Some(&entry.value);
            }
            link = &entry.next;
        }
        None
    }

    /// The head of the list that a key belongs to, by `hash_64()`.
    #[inline]
    fn head(&self, key: u64) -> &Link<T> {
        const GOLDEN_RATIO_64: u64 = 0x61c8_8646_80b5_83eb;
        let bucket = key.wrapping_mul(GOLDEN_RATIO_64).wrapping_shr(self.shift) as usize;
        // SAFETY: The bucket is less than `1 << (64 - shift)`, which is the number of heads, by the
        // type invariants.
        unsafe { self.heads.get_unchecked(bucket) }
    }

    /// Takes the lock of the writers. Context: any but NMI.
    pub fn lock(&self) -> Writer<'_, T> {
        Writer {
            count: self.count.lock(),
            hash: self,
        }
    }
}

#[pinned_drop]
impl<T: Send + Sync + 'static> PinnedDrop for RcuHash<T> {
    fn drop(self: Pin<&mut Self>) {
        for head in self.heads.iter() {
            let mut next = head.load(Acquire);
            while !next.is_null() {
                // SAFETY: From `KBox::into_raw()` in `insert()`, and owned by the table, by the
                // type invariants. There is no reader and no writer: both borrow the table for as
                // long as they use what they found.
                let entry = unsafe { KBox::into_pin(KBox::from_raw(next)) };
                next = entry.next.load(Acquire);
            }
        }
    }
}

/// An [`RcuHash`] with the lock of its writers held.
///
/// # Invariants
///
/// `count` is the lock of `hash`.
#[must_use = "dropping it unlocks the table"]
pub struct Writer<'a, T: Send + Sync + 'static> {
    count: Guard<'a, usize, SpinLockIrqBackend>,
    hash: &'a RcuHash<T>,
}

impl<T: Send + Sync + 'static> Writer<'_, T> {
    /// Returns the number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        *self.count
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds a value.
    pub fn get(&self, key: u64) -> Option<&T> {
        // SAFETY: `count` is locked as long as the result is used: both borrow `self`.
        unsafe { self.hash.search(key) }
    }

    /// Adds an entry. Readers that find it see all that was written to it before.
    ///
    /// # Errors
    ///
    /// Gives it back if its key is in use.
    pub fn insert(&mut self, entry: Pin<KBox<Entry<T>>>) -> Result<(), Pin<KBox<Entry<T>>>> {
        let key = entry.key;
        let head = self.hash.head(key);
        if self.get(key).is_some() {
            return Err(entry);
        }
        entry.next.store(head.load(Relaxed), Relaxed);
        // SAFETY: The entry is not moved before it is a pinned box again.
        let entry = KBox::into_raw(unsafe { Pin::into_inner_unchecked(entry) });
        // INVARIANT: The table owns it. The release pairs with the acquire of `search()`.
        head.store(entry, Release);
        *self.count += 1;
        Ok(())
    }

    /// Removes an entry, and returns whether there was one. Its value is dropped after a grace
    /// period.
    pub fn remove(&mut self, key: u64) -> bool {
        let mut link = self.hash.head(key);
        loop {
            let ptr = link.load(Relaxed);
            // SAFETY: Null or an entry, by the type invariants; the lock is held.
            let Some(entry) = (unsafe { ptr.as_ref() }) else {
                return false;
            };
            if entry.key != key {
                link = &entry.next;
                continue;
            }
            // A reader at this entry goes on from there: the link of the entry stays.
            link.store(entry.next.load(Relaxed), Release);
            *self.count -= 1;
            // SAFETY: From `KBox::into_raw()` in `insert()`; the table has given it up.
            let entry = unsafe { KBox::into_pin(KBox::from_raw(ptr)) };
            if let Err(refused) = self.hash.callbacks.call(entry) {
                // Only if the module's anchor was dropped before the table. Readers may use the
                // entry, and there is no way to wait for them here: leak it.
                kernel::warn_on!(true);
                core::mem::forget(refused.this);
            }
            return true;
        }
    }
}

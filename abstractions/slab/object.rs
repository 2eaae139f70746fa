// SPDX-License-Identifier: GPL-2.0

//! What is allocated from a cache.

use super::RawCache;
use crate::abstractions::{
    context,
    sync::percpu_ref::{
        Guard,
        Release, //
    }, //
};
use core::{
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    alloc::{
        Flags,
        NumaNode, //
    },
    bindings,
    prelude::*,
    task::might_sleep,
    types::Opaque, //
};

/// What keeps the cache of an object alive: a borrow of the cache, or a reference on it.
///
/// # Safety
///
/// [`cache`](Self::cache) is the same cache always, and is not dropped before the owner is,
/// wherever that was moved.
pub unsafe trait Owner {
    /// The cache.
    fn cache(&self) -> &RawCache;
}

/// Says that a type owns a [`RawCache`], whose objects hold references on the type.
///
/// As long as there is an object there is a [`Guard`], so the count owns an `Arc`, so the type is
/// not dropped, so the cache is not destroyed. When the last object is freed, the [`Release`]
/// callback receives that `Arc`, in any context, and passes it to a worker, which may drop it.
///
/// Implemented by [`impl_has_cache!`](crate::impl_has_cache!).
///
/// # Safety
///
/// [`cache`](Self::cache) returns the same field of `self` always; the cache in it is not replaced
/// or dropped as long as there is a [`Guard`] of `self`.
pub unsafe trait HasCache {
    /// The field.
    fn cache(&self) -> &RawCache;
}

/// Implements [`HasCache`] for a field.
#[macro_export]
macro_rules! impl_has_cache {
    (impl $({$($generics:tt)*})? HasCache for $self:ty { self.$field:ident }) => {
        $crate::impl_has_field! {
            // SAFETY: It is always the same field. A `Guard` keeps the structure behind a shared
            // `Arc`, so nobody can replace the cache.
            unsafe {$($($generics)*)?} $crate::abstractions::slab::HasCache,
            $self { self.$field: $crate::abstractions::slab::RawCache }
            cache
        }
    };
}

/// A reference on a structure with a cache, for an object of that cache.
///
/// Made of a [`Guard`], and cannot be turned into one again: the reference can be neither cloned
/// nor taken out of the object. It gives shared access to the structure, though, and with it
/// whatever that can be used for:
/// [`PercpuRef::tryget`](crate::abstractions::sync::percpu_ref::PercpuRef::tryget) takes another
/// reference, as long as the count is not zero. To prevent that, wrap the object.
pub struct Reference<C: HasCache + Release>(Guard<C>);

impl<C: HasCache + Release> From<Guard<C>> for Reference<C> {
    #[inline]
    fn from(guard: Guard<C>) -> Self {
        Self(guard)
    }
}

impl<C: HasCache + Release> Deref for Reference<C> {
    type Target = C;

    #[inline]
    fn deref(&self) -> &C {
        &self.0
    }
}

// SAFETY: A guard keeps its `C` alive and where it is, and so the cache in it.
unsafe impl<C: HasCache + Release> Owner for Reference<C> {
    #[inline]
    fn cache(&self) -> &RawCache {
        C::cache(&self.0)
    }
}

/// A `T` in the memory of a cache, like a `Pin<Box<T>>`.
///
/// Dropping it drops the `T`, gives the memory back to the cache that it came from, and then lets
/// go of the owner. Context of the drop: where `kmem_cache_free()` and the destructor of `T` are
/// legal; with a counted owner it may run [`Release::release`].
///
/// # Invariants
///
/// `ptr` was allocated from the cache of `owner`, is large and aligned enough for a `T`, holds a
/// valid one, and belongs to this `Object`. The `T` does not move.
pub struct Object<T, O: Owner> {
    ptr: NonNull<T>,
    owner: O,
}

// SAFETY: Owns a `T` and an `O`, like a box with an allocator.
unsafe impl<T: Send, O: Owner + Send> Send for Object<T, O> {}
// SAFETY: Gives shared access to the `T` and the `O`, like a box with an allocator.
unsafe impl<T: Sync, O: Owner + Sync> Sync for Object<T, O> {}

impl<T, O: Owner> Object<T, O> {
    /// Allocates and initialises a `T`.
    ///
    /// # Safety
    ///
    /// The layout of the cache of `owner` is enough for a `T`.
    #[inline]
    pub(super) unsafe fn new<E>(owner: O, init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        let memory = owner.cache().alloc(flags)?;
        // SAFETY: Just allocated there; the caller guarantees that it is enough for a `T`.
        unsafe { Self::init(owner, memory, init) }
    }

    /// As [`new`](Self::new), from the NUMA node `node` if that has memory.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new).
    #[inline]
    pub(super) unsafe fn new_node<E>(
        owner: O,
        init: impl PinInit<T, E>,
        flags: Flags,
        node: NumaNode,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let memory = owner.cache().alloc_node(flags, node)?;
        // SAFETY: Just allocated there; the caller guarantees that it is enough for a `T`.
        unsafe { Self::init(owner, memory, init) }
    }

    /// Initialises a `T` in `memory`, or frees that.
    ///
    /// # Safety
    ///
    /// `memory` came from the cache of `owner`, belongs to the caller, and is enough for a `T`.
    #[inline]
    unsafe fn init<E>(owner: O, memory: NonNull<u8>, init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let ptr = memory.cast::<T>();
        // SAFETY: Valid for writing a `T`, which will not move; not used where this fails.
        if let Err(error) = unsafe { pin_init::raw_try_init(ptr.as_ptr(), init) } {
            // SAFETY: The memory is the caller's, and came from this cache.
            unsafe { owner.cache().free(memory) };
            return Err(error.into());
        }
        // INVARIANT: By the safety requirement, and initialised above.
        Ok(Self { ptr, owner })
    }

    /// Allocates and initialises `count` objects, or none: what was made before an error is
    /// dropped. Each has an owner of its own, from `another`.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new); all owners have the same cache.
    pub(super) unsafe fn new_bulk<I, E>(
        another: impl Fn() -> O,
        count: usize,
        mut init: impl FnMut(usize) -> I,
        flags: Flags,
    ) -> Result<KVec<Self>>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        let owner = another();
        let mut objects = KVec::with_capacity(count, flags)?;
        let mut memory = [MaybeUninit::<*mut u8>::uninit(); BATCH];
        while objects.len() < count {
            let got = if context::interrupts_enabled() {
                let batch = (count - objects.len()).min(BATCH);
                owner.cache().alloc_bulk(&mut memory[..batch], flags)?;
                batch
            } else {
                memory[0].write(owner.cache().alloc(flags)?.as_ptr());
                1
            };
            let mut failed = Ok(());
            for slot in &memory[..got] {
                // SAFETY: Written by the allocation above, which returns no null pointer.
                let one = unsafe { NonNull::new_unchecked(slot.assume_init()) };
                if failed.is_err() {
                    // SAFETY: Allocated above, and not used.
                    unsafe { owner.cache().free(one) };
                    continue;
                }
                // SAFETY: Allocated above; the caller guarantees that it is enough for a `T`.
                failed = unsafe { Self::init(another(), one, init(objects.len())) }
                    .and_then(|object| Ok(objects.push(object, flags)?));
            }
            failed?;
        }
        Ok(objects)
    }

    /// Drops many objects, whose memory is given back in batches.
    ///
    /// Wraps `kmem_cache_free_bulk()`; with interrupts disabled, `kmem_cache_free()`.
    /// Context: as the drop of one.
    pub fn free_bulk(objects: KVec<Self>) {
        if !context::interrupts_enabled() {
            return drop(objects);
        }
        let mut batch = Batch::<O>::new();
        for object in objects {
            let (ptr, owner) = object.into_parts();
            // SAFETY: Valid, by the type invariants, and not used again.
            unsafe { ptr::drop_in_place(ptr.as_ptr()) };
            // SAFETY: From the cache of `owner`, by the type invariants; not used again.
            unsafe { batch.push(ptr.cast(), owner) };
        }
    }

    /// The value, mutable and in its place.
    #[inline]
    pub fn as_mut(&mut self) -> Pin<&mut T> {
        // SAFETY: Valid, ours, and does not move, by the type invariants.
        unsafe { Pin::new_unchecked(self.ptr.as_mut()) }
    }

    /// What keeps the cache alive.
    #[inline]
    pub fn owner(&self) -> &O {
        &self.owner
    }

    /// Splits the object in two parts; [`from_raw`](Self::from_raw) is the inverse.
    ///
    /// If the parts are dropped the object is leaked, as with a box, and its cache with it.
    #[inline]
    pub fn into_raw(self) -> (NonNull<T>, Detached<O>) {
        let (ptr, owner) = self.into_parts();
        (ptr, Detached(ManuallyDrop::new(owner)))
    }

    /// Private: the owner could be dropped before the memory is freed.
    #[inline]
    fn into_parts(self) -> (NonNull<T>, O) {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used again, and is not dropped.
        (this.ptr, unsafe { ptr::read(&this.owner) })
    }

    /// Puts an object together again.
    ///
    /// # Safety
    ///
    /// Both came from one [`into_raw`](Self::into_raw), and the value is valid.
    #[inline]
    pub unsafe fn from_raw(ptr: NonNull<T>, owner: Detached<O>) -> Self {
        let owner = ManuallyDrop::into_inner(owner.0);
        // INVARIANT: By the safety requirement.
        Self { ptr, owner }
    }
}

/// The owner of an object that was split; good for [`Object::from_raw`] only.
///
/// Dropping it does not drop the owner.
///
/// # Invariants
///
/// The owner is not used otherwise as long as the memory of the object is not freed.
#[must_use = "without it the object is leaked"]
pub struct Detached<O: Owner>(pub(super) ManuallyDrop<O>);

impl<T, O: Owner> Deref for Object<T, O> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: Valid and ours, by the type invariants.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Unpin, O: Owner> DerefMut for Object<T, O> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Valid and ours, by the type invariants.
        unsafe { self.ptr.as_mut() }
    }
}

impl<T, O: Owner> Drop for Object<T, O> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Valid, by the type invariants, and not used again.
        unsafe { ptr::drop_in_place(self.ptr.as_ptr()) };
        // SAFETY: From this cache, by the type invariants; the owner, dropped after this, keeps it
        // alive.
        unsafe { self.owner.cache().free(self.ptr.cast()) };
    }
}

/// Memory without a type, of the layout of its cache; uninitialised when it is allocated. Access to
/// it is unsafe.
pub struct Memory(());

impl<O: Owner> Object<Memory, O> {
    /// Allocates memory. Wraps `kmem_cache_alloc()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the owner is dropped.
    #[inline]
    pub fn memory(owner: O, flags: Flags) -> Result<Self> {
        let memory = owner.cache().alloc(flags)?;
        // INVARIANT: Every layout is enough for a `Memory`, which is nothing and is valid.
        Ok(Self {
            ptr: memory.cast(),
            owner,
        })
    }

    /// As [`memory`](Self::memory), from the NUMA node `node` if that has memory; with
    /// [`__GFP_THISNODE`](crate::abstractions::gfp::__GFP_THISNODE), only then.
    ///
    /// Wraps `kmem_cache_alloc_node()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the owner is dropped.
    #[inline]
    pub fn memory_node(owner: O, flags: Flags, node: NumaNode) -> Result<Self> {
        let memory = owner.cache().alloc_node(flags, node)?;
        // INVARIANT: As in `memory()`.
        Ok(Self {
            ptr: memory.cast(),
            owner,
        })
    }

    /// The memory.
    #[inline]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.ptr.cast()
    }
}

/// How many objects go to and from a cache at once.
const BATCH: usize = 32;

/// Memory that waits to be given back, all of one cache.
///
/// # Invariants
///
/// The first `len` pieces of `memory` are initialised, came from the cache of the owner at the same
/// index, which is the same cache for all, and belong to the batch.
struct Batch<O: Owner> {
    memory: [MaybeUninit<*mut u8>; BATCH],
    owners: [Option<O>; BATCH],
    len: usize,
}

impl<O: Owner> Batch<O> {
    fn new() -> Self {
        // INVARIANT: None.
        Self {
            memory: [MaybeUninit::uninit(); BATCH],
            owners: [const { None }; BATCH],
            len: 0,
        }
    }

    /// # Safety
    ///
    /// `memory` came from the cache of `owner`, and is not used again.
    unsafe fn push(&mut self, memory: NonNull<u8>, owner: O) {
        let cache = |owner: &O| owner.cache().ptr;
        let other = self.owners[0]
            .as_ref()
            .is_some_and(|first| cache(first) != cache(&owner));
        if other || self.len == BATCH {
            self.flush();
        }
        // INVARIANT: By the safety requirement; pieces of another cache were given back above.
        self.memory[self.len].write(memory.as_ptr());
        self.owners[self.len] = Some(owner);
        self.len += 1;
    }

    fn flush(&mut self) {
        if let Some(owner) = &self.owners[0] {
            // SAFETY: Initialised, ours, and from the cache of this owner, by the type invariants;
            // not used again.
            unsafe { owner.cache().free_bulk(&mut self.memory[..self.len]) };
        }
        for owner in &mut self.owners[..self.len] {
            *owner = None;
        }
        self.len = 0;
    }
}

impl<O: Owner> Drop for Batch<O> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A field that lets an object be freed after a grace period: a `struct kvfree_rcu_head`.
#[repr(transparent)]
pub struct KfreeRcuHead(Opaque<bindings::kvfree_rcu_head>);

// SAFETY: The head is written by `free_rcu()` only, which owns the object.
unsafe impl Send for KfreeRcuHead {}
// SAFETY: A shared reference gives no access to the head; `free_rcu()` owns the object.
unsafe impl Sync for KfreeRcuHead {}

impl KfreeRcuHead {
    /// A head that is not used yet.
    pub const fn new() -> Self {
        Self(Opaque::uninit())
    }
}

impl Default for KfreeRcuHead {
    fn default() -> Self {
        Self::new()
    }
}

/// Says that a type contains a [`KfreeRcuHead`].
///
/// Implemented by [`impl_has_kfree_rcu_head!`](crate::impl_has_kfree_rcu_head!).
///
/// # Safety
///
/// [`kfree_rcu_head`](Self::kfree_rcu_head) returns the field of `self` at
/// [`OFFSET`](Self::OFFSET).
pub unsafe trait HasKfreeRcuHead {
    /// How far into the object the field is, in bytes: less than 4096.
    const OFFSET: usize;

    /// The field.
    fn kfree_rcu_head(&self) -> &KfreeRcuHead;
}

/// Implements [`HasKfreeRcuHead`] for a field.
#[macro_export]
macro_rules! impl_has_kfree_rcu_head {
    (impl $({$($generics:tt)*})? HasKfreeRcuHead for $self:ty { self.$field:ident }) => {
        $crate::impl_has_field! {
            // SAFETY: The trait requires one field of that type, and its offset.
            unsafe {$($($generics)*)?} $crate::abstractions::slab::HasKfreeRcuHead,
            $self { self.$field: $crate::abstractions::slab::KfreeRcuHead }
            kfree_rcu_head, offset: OFFSET
        }
    };
}

/// Checks, when it is compiled, that a `T` may be freed without being dropped.
pub(super) const fn assert_no_drop<T>() {
    const { assert!(!core::mem::needs_drop::<T>(), "nobody would drop it") }
}

/// Frees an object of a slab cache after a grace period, by the head in it.
///
/// # Safety
///
/// `object` was allocated from a slab cache, belongs to the caller, and is not used again, except
/// by RCU readers that found it before.
#[inline]
pub(super) unsafe fn kfree_rcu<T: HasKfreeRcuHead>(object: NonNull<T>) {
    assert_no_drop::<T>();
    const {
        // As in `kvfree_rcu()`.
        assert!(T::OFFSET < 4096, "the head is too far into the object");
    }
    // SAFETY: The caller guarantees that it is a valid object.
    let head = unsafe { object.as_ref() }.kfree_rcu_head().0.get();
    // SAFETY: `kvfree_call_rcu()` takes a live object that `kfree()` accepts, as that of any slab
    // cache, and a head in its first 4096 bytes that is not queued yet, as the object belonged to
    // the caller. Readers that still use the object are RCU readers.
    unsafe { bindings::kvfree_call_rcu(head, object.as_ptr().cast()) };
}

impl<T, O: Owner> Object<T, O> {
    /// As [`free_rcu`](Self::free_rcu), by the pointer alone: `T` needs no [`KfreeRcuHead`].
    ///
    /// Wraps `kfree_rcu_mightsleep()`, which waits for the grace period itself where it cannot
    /// allocate what it notes the pointer in. Context: may sleep; not in an RCU read-side critical
    /// section.
    pub fn free_rcu_mightsleep(self) {
        assert_no_drop::<T>();
        might_sleep();
        let (ptr, owner) = self.into_parts();
        // SAFETY: `kvfree_call_rcu()` without a head takes a live object that `kfree()` accepts, as
        // that of any slab cache. It is not used again but by RCU readers.
        unsafe { bindings::kvfree_call_rcu(ptr::null_mut(), ptr.as_ptr().cast()) };
        drop(owner);
    }
}

impl<T: HasKfreeRcuHead, O: Owner> Object<T, O> {
    /// Frees the memory after a grace period: readers that found the object under RCU may use it
    /// until then. `T` must not need to be dropped.
    ///
    /// The owner is dropped at once, so the cache can be destroyed before the memory is freed:
    /// `kmem_cache_destroy()` waits for it (`kvfree_rcu_barrier_on_cache()`). Wraps `kfree_rcu()`.
    /// Context: any but NMI.
    pub fn free_rcu(self) {
        let (ptr, owner) = self.into_parts();
        // SAFETY: From a slab cache, and valid, by the type invariants; not used again here.
        unsafe { kfree_rcu(ptr) };
        drop(owner);
    }
}

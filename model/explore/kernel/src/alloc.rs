// SPDX-License-Identifier: GPL-2.0

//! Memory. Each allocation may fail, if the checker chooses so.

use crate::{
    check,
    error::{Error, Result},
};
use core::{
    alloc::Layout,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    pin::Pin,
    ptr::NonNull,
};
use pin_init::{InPlaceWrite, Init, PinInit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

impl core::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::Not for Flags {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl core::ops::BitAnd for Flags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Flags {
    pub fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

pub mod flags {
    #![allow(non_upper_case_globals)]
    use super::Flags;
    pub const GFP_KERNEL: Flags = Flags(1);
    pub const GFP_ATOMIC: Flags = Flags(2);
    pub const GFP_NOWAIT: Flags = Flags(4);
    pub const __GFP_NOWARN: Flags = Flags(8);
    pub const __GFP_ZERO: Flags = Flags(16);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NumaNode(i32);
impl NumaNode {
    pub const NO_NODE: Self = Self(-1);
}

pub unsafe trait Allocator {
    const MIN_ALIGN: usize;

    unsafe fn realloc(
        ptr: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError>;
}

pub struct Kmalloc;

/// What is in memory that was freed, as with `slub_debug=P`.
const POISON: u8 = 0x6b;

pub(crate) fn may_fail() -> Result<(), AllocError> {
    if check::fails() {
        check::note("an allocation fails");
        return Err(AllocError);
    }
    Ok(())
}

/// With `GFP_KERNEL` the caller may sleep.
fn allocate(layout: Layout, flags: Flags) -> Result<NonNull<u8>, AllocError> {
    if flags.contains(flags::GFP_KERNEL) {
        crate::context::might_sleep();
    }
    may_fail()?;
    if layout.size() == 0 {
        return Ok(NonNull::dangling());
    }
    // SAFETY: Not of size zero.
    NonNull::new(unsafe { std::alloc::alloc(layout) }).ok_or(AllocError)
}

pub(crate) fn allocate_for<T>(flags: Flags) -> Result<NonNull<T>, AllocError> {
    allocate(Layout::new::<T>(), flags).map(NonNull::cast)
}

/// Keeps the memory until the end of the execution, so that its use is an assertion.
pub(crate) fn free_of<T>(memory: NonNull<T>) {
    check::free_later(memory.as_ptr().cast(), Layout::new::<T>());
}

pub trait InPlaceInit<T>: Sized {
    type PinnedSelf;

    fn try_pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self::PinnedSelf, E>
    where
        E: From<AllocError>;

    fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self::PinnedSelf>
    where
        Error: From<E>,
    {
        // SAFETY: It is the initializer, but for the type of its error.
        let init = unsafe {
            pin_init::pin_init_from_closure(|slot| {
                pin_init::raw_try_init(slot, init).map_err(|e| Error::from(e))
            })
        };
        Self::try_pin_init(init, flags)
    }

    fn try_init<E>(init: impl Init<T, E>, flags: Flags) -> Result<Self, E>
    where
        E: From<AllocError>;

    fn init<E>(init: impl Init<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        // SAFETY: As above.
        let init = unsafe {
            pin_init::init_from_closure(|slot| {
                pin_init::raw_try_init(slot, init).map_err(|e| Error::from(e))
            })
        };
        Self::try_init(init, flags)
    }
}

pub struct Box<T, A = Kmalloc>(NonNull<T>, PhantomData<(T, A)>);
pub type KBox<T> = Box<T>;

// SAFETY: Owns a `T`.
unsafe impl<T: Send, A> Send for Box<T, A> {}
// SAFETY: Owns a `T`.
unsafe impl<T: Sync, A> Sync for Box<T, A> {}

impl<T> Box<T> {
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        let memory = allocate_for(flags)?;
        // SAFETY: Just allocated.
        unsafe { memory.write(value) };
        Ok(Self(memory, PhantomData))
    }

    pub fn new_uninit(flags: Flags) -> Result<Box<MaybeUninit<T>>, AllocError> {
        Ok(Box(allocate_for(flags)?, PhantomData))
    }

    fn init_with<E: From<AllocError>>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E> {
        let memory = allocate_for::<T>(flags)?;
        // SAFETY: Just allocated.
        if let Err(error) = unsafe { pin_init::raw_try_init(memory.as_ptr(), init) } {
            free_of(memory);
            return Err(error);
        }
        Ok(Self(memory, PhantomData))
    }
}

impl<T> Box<MaybeUninit<T>> {
    pub fn write(self, value: T) -> Box<T> {
        let this = ManuallyDrop::new(self);
        let memory = this.0.cast::<T>();
        // SAFETY: Ours.
        unsafe { memory.write(value) };
        Box(memory, PhantomData)
    }
}

impl<T> InPlaceWrite<T> for Box<MaybeUninit<T>> {
    type Initialized = Box<T>;

    fn write_init<E>(mut self, init: impl Init<T, E>) -> Result<Box<T>, E> {
        // SAFETY: Ours.
        unsafe { pin_init::raw_try_init((*self).as_mut_ptr(), init) }?;
        Ok(Box(ManuallyDrop::new(self).0.cast(), PhantomData))
    }

    fn write_pin_init<E>(mut self, init: impl PinInit<T, E>) -> Result<Pin<Box<T>>, E> {
        // SAFETY: Ours; pinned from here.
        unsafe { pin_init::raw_try_init((*self).as_mut_ptr(), init) }?;
        Ok(Box::into_pin(Box(
            ManuallyDrop::new(self).0.cast(),
            PhantomData,
        )))
    }
}

impl<T> Unpin for Box<T> {}

impl<T> InPlaceInit<T> for Box<T> {
    type PinnedSelf = Pin<Self>;

    fn try_pin_init<E: From<AllocError>>(
        init: impl PinInit<T, E>,
        flags: Flags,
    ) -> Result<Pin<Self>, E> {
        Ok(Self::into_pin(Self::init_with(init, flags)?))
    }

    fn try_init<E: From<AllocError>>(init: impl Init<T, E>, flags: Flags) -> Result<Self, E> {
        Self::init_with(init, flags)
    }
}

impl<T, A> Box<T, A> {
    pub fn into_raw(this: Self) -> *mut T {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// # Safety
    ///
    /// From [`into_raw`](Self::into_raw), once.
    pub unsafe fn from_raw(ptr: *mut T) -> Self {
        Self(NonNull::new(ptr).unwrap(), PhantomData)
    }

    pub fn into_pin(this: Self) -> Pin<Self> {
        // SAFETY: Nothing moves the value out of a box that is pinned.
        unsafe { Pin::new_unchecked(this) }
    }
}

impl<T, A> Deref for Box<T, A> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: Ours.
        unsafe { self.0.as_ref() }
    }
}

impl<T, A> DerefMut for Box<T, A> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Ours.
        unsafe { self.0.as_mut() }
    }
}

impl<T, A> Drop for Box<T, A> {
    fn drop(&mut self) {
        // SAFETY: Ours, and not used again.
        unsafe { self.0.drop_in_place() };
        // SAFETY: As above. Whoever uses it all the same finds no value.
        unsafe { self.0.cast::<u8>().write_bytes(POISON, size_of::<T>()) };
        free_of(self.0);
    }
}

pub struct KVec<T>(Vec<T>);
pub type KVVec<T> = KVec<T>;

impl<T> KVec<T> {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut vec = Self::new();
        vec.reserve(capacity, flags)?;
        Ok(vec)
    }

    pub fn reserve(&mut self, additional: usize, flags: Flags) -> Result<(), AllocError> {
        if self.0.capacity() - self.0.len() < additional {
            if flags.contains(flags::GFP_KERNEL) {
                crate::context::might_sleep();
            }
            may_fail()?;
            self.0.reserve_exact(additional);
        }
        Ok(())
    }

    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    pub fn remove(&mut self, at: usize) -> Result<T, ()> {
        if at < self.0.len() {
            Ok(self.0.remove(at))
        } else {
            Err(())
        }
    }

    pub fn retain(&mut self, f: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(f)
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

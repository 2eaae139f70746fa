// SPDX-License-Identifier: GPL-2.0

//! Reference counts.
//!
//! A change of a count is no point: what matters is who drops the last reference, and that is decided by the
//! points around it. A value that is gone stays in memory, so that a use of it is an assertion.

use crate::{
    alloc::{allocate_for, free_of, AllocError, Flags, InPlaceInit},
    error::Result,
};
use core::{
    cell::Cell,
    marker::PhantomData,
    mem::{offset_of, ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    pin::Pin,
    ptr::NonNull,
};
use pin_init::{Init, PinInit};

#[repr(C)]
struct Inner<T> {
    count: Cell<usize>,
    value: T,
}

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// How many reference-counted values there are.
pub fn live() -> isize {
    LIVE.with(Cell::get)
}

pub fn begin() {
    LIVE.with(|live| live.set(0));
}

fn count_live(by: isize) {
    LIVE.with(|live| live.set(live.get() + by));
}

pub struct Arc<T>(NonNull<Inner<T>>, PhantomData<T>);

// SAFETY: The checker runs one thread at a time.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

// Whoever has it pinned has the value pinned.
impl<T> Unpin for Arc<T> {}

impl<T> Arc<T> {
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(UniqueArc::new(value, flags)?.into())
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: The memory is kept.
        let inner = unsafe { self.0.as_ref() };
        assert!(
            inner.count.get() > 0,
            "use of {} that was freed",
            core::any::type_name::<T>()
        );
        inner
    }

    pub fn into_raw(self) -> *const T {
        let this = ManuallyDrop::new(self);
        &this.inner().value
    }

    /// # Safety
    ///
    /// From [`into_raw`](Self::into_raw), once.
    pub unsafe fn from_raw(ptr: *const T) -> Self {
        // SAFETY: It points into an `Inner<T>`.
        let inner = unsafe { ptr.byte_sub(offset_of!(Inner<T>, value)) };
        let this = Self(NonNull::new(inner.cast_mut().cast()).unwrap(), PhantomData);
        this.inner();
        this
    }

    pub fn as_ptr(this: &Self) -> *const T {
        &this.inner().value
    }

    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.0 == other.0
    }

    pub fn into_unique_or_drop(this: Self) -> Option<Pin<UniqueArc<T>>> {
        if this.inner().count.get() > 1 {
            return None;
        }
        // SAFETY: Pinned, as every `Arc` is.
        Some(unsafe { Pin::new_unchecked(UniqueArc(this)) })
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        let count = &self.inner().count;
        count.set(count.get() + 1);
        Self(self.0, PhantomData)
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    #[track_caller]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let count = &self.inner().count;
        if count.get() > 1 {
            count.set(count.get() - 1);
            return;
        }
        // SAFETY: The last reference.
        unsafe { core::ptr::drop_in_place(&raw mut (*self.0.as_ptr()).value) };
        // SAFETY: The memory is kept.
        unsafe { self.0.as_ref() }.count.set(0);
        count_live(-1);
        free_of(self.0);
    }
}

impl<T> InPlaceInit<T> for Arc<T> {
    type PinnedSelf = Self;

    fn try_pin_init<E: From<AllocError>>(
        init: impl PinInit<T, E>,
        flags: Flags,
    ) -> Result<Self, E> {
        Ok(UniqueArc::try_pin_init(init, flags)?.into())
    }

    fn try_init<E: From<AllocError>>(init: impl Init<T, E>, flags: Flags) -> Result<Self, E> {
        Ok(UniqueArc::try_init(init, flags)?.into())
    }
}

pub struct UniqueArc<T>(Arc<T>);

impl<T> UniqueArc<T> {
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(Self::new_uninit(flags)?.write(value))
    }

    pub fn new_uninit(flags: Flags) -> Result<UniqueArc<MaybeUninit<T>>, AllocError> {
        let memory = allocate_for::<Inner<MaybeUninit<T>>>(flags)?;
        // SAFETY: Just allocated.
        unsafe {
            memory.write(Inner {
                count: Cell::new(1),
                value: MaybeUninit::uninit(),
            })
        };
        count_live(1);
        Ok(UniqueArc(Arc(memory, PhantomData)))
    }

    fn init_with<E: From<AllocError>>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E> {
        let mut memory = Self::new_uninit(flags)?;
        // SAFETY: Ours.
        unsafe { pin_init::raw_try_init((*memory).as_mut_ptr(), init) }?;
        // SAFETY: Initialised.
        Ok(unsafe { memory.assume_init() })
    }
}

impl<T> UniqueArc<MaybeUninit<T>> {
    pub fn write(mut self, value: T) -> UniqueArc<T> {
        (*self).write(value);
        // SAFETY: Just written.
        unsafe { self.assume_init() }
    }

    /// # Safety
    ///
    /// Initialised.
    pub unsafe fn assume_init(self) -> UniqueArc<T> {
        let this = ManuallyDrop::new(self);
        UniqueArc(Arc(this.0 .0.cast(), PhantomData))
    }

    pub fn pin_init_with<E>(mut self, init: impl PinInit<T, E>) -> Result<Pin<UniqueArc<T>>, E> {
        // SAFETY: Ours; an `Arc` does not move its value.
        unsafe {
            pin_init::raw_try_init((*self).as_mut_ptr(), init)?;
            Ok(Pin::new_unchecked(self.assume_init()))
        }
    }
}

impl<T> InPlaceInit<T> for UniqueArc<T> {
    type PinnedSelf = Pin<Self>;

    fn try_pin_init<E: From<AllocError>>(
        init: impl PinInit<T, E>,
        flags: Flags,
    ) -> Result<Pin<Self>, E> {
        // SAFETY: An `Arc` does not move its value.
        Ok(unsafe { Pin::new_unchecked(Self::init_with(init, flags)?) })
    }

    fn try_init<E: From<AllocError>>(init: impl Init<T, E>, flags: Flags) -> Result<Self, E> {
        Self::init_with(init, flags)
    }
}

impl<T> From<UniqueArc<T>> for Arc<T> {
    fn from(unique: UniqueArc<T>) -> Self {
        unique.0
    }
}

impl<T> From<Pin<UniqueArc<T>>> for Arc<T> {
    fn from(unique: Pin<UniqueArc<T>>) -> Self {
        // SAFETY: An `Arc` does not move its value.
        unsafe { Pin::into_inner_unchecked(unique) }.0
    }
}

impl<T> Deref for UniqueArc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for UniqueArc<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The only reference.
        unsafe { &mut (*self.0 .0.as_ptr()).value }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! `Opaque`, `ScopeGuard`, `NotThreadSafe`.

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
};
use pin_init::{PinInit, Wrapper};

pub type NotThreadSafe = PhantomData<*mut ()>;
#[allow(non_upper_case_globals)]
pub const NotThreadSafe: NotThreadSafe = PhantomData;

#[repr(transparent)]
pub struct Opaque<T>(UnsafeCell<MaybeUninit<T>>, core::marker::PhantomPinned);

impl<T> Opaque<T> {
    pub const fn new(value: T) -> Self {
        Self(
            UnsafeCell::new(MaybeUninit::new(value)),
            core::marker::PhantomPinned,
        )
    }

    pub const fn uninit() -> Self {
        Self(
            UnsafeCell::new(MaybeUninit::uninit()),
            core::marker::PhantomPinned,
        )
    }

    pub fn ffi_init(init: impl FnOnce(*mut T)) -> impl PinInit<Self> {
        // SAFETY: An `Opaque` may be uninitialised.
        unsafe {
            pin_init::pin_init_from_closure::<_, core::convert::Infallible>(
                move |slot: *mut Self| {
                    init(Self::cast_into(slot));
                    Ok(())
                },
            )
        }
    }

    pub fn try_ffi_init<E>(init: impl FnOnce(*mut T) -> Result<(), E>) -> impl PinInit<Self, E> {
        // SAFETY: An `Opaque` may be uninitialised.
        unsafe {
            pin_init::pin_init_from_closure::<_, E>(move |slot: *mut Self| {
                init(Self::cast_into(slot))
            })
        }
    }

    pub const fn get(&self) -> *mut T {
        UnsafeCell::get(&self.0).cast::<T>()
    }

    pub const fn cast_into(this: *const Self) -> *mut T {
        UnsafeCell::raw_get(this.cast::<UnsafeCell<MaybeUninit<T>>>()).cast::<T>()
    }

    pub const fn cast_from(this: *const T) -> *const Self {
        this.cast()
    }
}

impl<T> Wrapper<T> for Opaque<T> {
    fn pin_init<E>(value_init: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        Self::try_ffi_init(|ptr: *mut T| {
            // SAFETY: Valid, and pinned.
            unsafe { pin_init::raw_try_init(ptr, value_init) }
        })
    }
}

pub struct ScopeGuard<T, F: FnOnce(T)>(Option<(T, F)>);

impl ScopeGuard<(), fn(())> {
    #[allow(clippy::new_ret_no_self)]
    pub fn new(cleanup: impl FnOnce()) -> ScopeGuard<(), impl FnOnce(())> {
        ScopeGuard(Some(((), move |()| cleanup())))
    }
}

impl<T, F: FnOnce(T)> ScopeGuard<T, F> {
    pub fn new_with_data(data: T, cleanup: F) -> Self {
        Self(Some((data, cleanup)))
    }

    pub fn dismiss(mut self) -> T {
        self.0.take().unwrap().0
    }
}

impl<T, F: FnOnce(T)> Deref for ScopeGuard<T, F> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.as_ref().unwrap().0
    }
}

impl<T, F: FnOnce(T)> DerefMut for ScopeGuard<T, F> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.as_mut().unwrap().0
    }
}

impl<T, F: FnOnce(T)> Drop for ScopeGuard<T, F> {
    fn drop(&mut self) {
        if let Some((data, cleanup)) = self.0.take() {
            cleanup(data)
        }
    }
}

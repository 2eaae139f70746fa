// SPDX-License-Identifier: GPL-2.0

//! As much as `workqueue.rs` names.

use core::ptr::NonNull;

pub unsafe trait AlwaysRefCounted {}

pub struct ARef<T>(NonNull<T>);

impl<T> ARef<T> {
    pub fn into_raw(self) -> NonNull<T> {
        self.0
    }

    /// # Safety
    ///
    /// From [`into_raw`](Self::into_raw).
    pub unsafe fn from_raw(ptr: NonNull<T>) -> Self {
        Self(ptr)
    }
}

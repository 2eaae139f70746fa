// SPDX-License-Identifier: GPL-2.0

//! Atomics, sequentially consistent. A relaxed access orders nothing, and is no point: it is a counter, or a
//! hint that is looked at again with a lock held.

use crate::check::point;
use core::{
    cell::Cell,
    ops::{Add, Sub},
};

pub mod ordering {
    pub struct Relaxed;
    pub struct Acquire;
    pub struct Release;
    pub struct Full;

    pub trait Any {
        const ORDERS: bool = true;
    }
    impl Any for Relaxed {
        const ORDERS: bool = false;
    }
    impl Any for Acquire {}
    impl Any for Release {}
    impl Any for Full {}
}
use ordering::Any;
pub use ordering::{Acquire, Full, Relaxed, Release};

fn access<O: Any>(_: O) {
    if O::ORDERS {
        point();
    }
}

pub struct Atomic<T>(Cell<T>);

// SAFETY: The checker runs one thread at a time.
unsafe impl<T> Send for Atomic<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Atomic<T> {}

impl<T> Atomic<T> {
    pub const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T: Copy + PartialEq> Atomic<T> {
    pub fn load<O: Any>(&self, order: O) -> T {
        access(order);
        self.0.get()
    }

    pub fn store<O: Any>(&self, value: T, order: O) {
        access(order);
        self.0.set(value);
    }

    pub fn xchg<O: Any>(&self, value: T, order: O) -> T {
        access(order);
        self.0.replace(value)
    }

    pub fn cmpxchg<O: Any>(&self, old: T, new: T, order: O) -> Result<T, T> {
        access(order);
        let seen = self.0.get();
        if seen != old {
            return Err(seen);
        }
        self.0.set(new);
        Ok(seen)
    }
}

impl<T: Copy + Add<Output = T> + Sub<Output = T>> Atomic<T> {
    pub fn fetch_add<O: Any>(&self, value: T, order: O) -> T {
        access(order);
        self.0.replace(self.0.get() + value)
    }

    pub fn fetch_sub<O: Any>(&self, value: T, order: O) -> T {
        access(order);
        self.0.replace(self.0.get() - value)
    }

    pub fn add<O: Any>(&self, value: T, order: O) {
        self.fetch_add(value, order);
    }
}

pub type AtomicFlag = Atomic<bool>;

// SPDX-License-Identifier: GPL-2.0

//! The context that code runs in.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::context::Context;
//!
//! fn flags() -> kernel::alloc::Flags {
//!     match Context::current() {
//!         Context::Task => GFP_KERNEL, // Where no lock is held.
//!         _ => GFP_ATOMIC,
//!     }
//! }
//! # assert_eq!(Context::current(), Context::Task);
//! # assert!(KBox::new(42, flags()).is_ok());
//! ```
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use crate::abstractions::helpers;
use kernel::fmt;

/// What the CPU is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// A task, such as a worker of a workqueue. May sleep, unless a lock or a disabled preemption
    /// forbids it.
    Task,
    /// A softirq. Must not sleep.
    SoftIrq,
    /// A hard interrupt. Must not sleep.
    HardIrq,
    /// A non-maskable interrupt.
    Nmi,
}

impl Context {
    /// The context of the caller as a number, from 0, a task, to 3. Context: any.
    #[inline]
    pub fn level() -> usize {
        // SAFETY: Reads the preempt count of this CPU, and requires nothing.
        unsafe { helpers::rust_kmemcg_context() as usize }
    }

    /// The context of the caller. Context: any.
    #[inline]
    pub fn current() -> Self {
        match Self::level() {
            0 => Self::Task,
            1 => Self::SoftIrq,
            2 => Self::HardIrq,
            _ => Self::Nmi,
        }
    }
}

/// Are interrupts enabled, as the bulk functions of slab caches require? Context: any.
#[inline]
pub fn interrupts_enabled() -> bool {
    // SAFETY: Reads the flags of this CPU, and requires nothing.
    !unsafe { helpers::rust_kmemcg_irqs_disabled() }
}

/// Is the caller in an interrupt, or does it run with softirqs disabled? It must not sleep then,
/// even if [`Context::current`] is a task: RCU callbacks run in such tasks on PREEMPT_RT, and on
/// other kernels with `rcu_nocbs=` or `rcutree.use_softirq=0`.
///
/// Equivalent to `in_interrupt()`. Context: any.
#[inline]
pub fn in_interrupt() -> bool {
    // SAFETY: Reads the preempt count of this CPU, and requires nothing.
    unsafe { helpers::rust_kmemcg_in_interrupt() }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task => "task",
            Self::SoftIrq => "softirq",
            Self::HardIrq => "hardirq",
            Self::Nmi => "nmi",
        })
    }
}

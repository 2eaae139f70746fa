// SPDX-License-Identifier: GPL-2.0

//! Runs a closure in a chosen context, and waits for it: for tests.
//!
//! Uses in-tree hrtimers, whose callbacks run in a hard interrupt or in a softirq.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::{context::Context, exec};
//!
//! fn example() -> Result {
//!     exec::run(Context::HardIrq, 42, |answer| {
//!         // Must not sleep here.
//!         pr_info!("{} in {}\n", answer, Context::current());
//!     })
//!     .map_err(|(error, _)| error)
//! }
//! ```
//!
//! C header: [`include/linux/hrtimer.h`](srctree/include/linux/hrtimer.h)

use super::context::Context;
use core::marker::PhantomData;
use kernel::{
    impl_has_hr_timer,
    prelude::*,
    sync::{new_spinlock_irq, Arc, ArcBorrow, Completion, SpinLockIrq},
    task::might_sleep,
    time::{
        hrtimer::{
            HrTimer, HrTimerCallback, HrTimerCallbackContext, HrTimerMode, HrTimerPointer,
            HrTimerRestart, RelativeMode, RelativeSoftMode,
        },
        Delta, Monotonic,
    },
};

/// Calls `f` with `value` in `context`, and returns when it has returned. Context of the caller:
/// may sleep.
///
/// # Errors
///
/// `ENOMEM`; `EOPNOTSUPP` for [`Context::Nmi`], and on PREEMPT_RT for [`Context::HardIrq`], where a
/// spinlock sleeps. `f` was not called, and the value is returned.
pub fn run<T, F>(context: Context, value: T, f: F) -> core::result::Result<(), (Error, T)>
where
    T: Send + Unpin + 'static,
    F: FnOnce(T) + Send + Unpin + 'static,
{
    might_sleep();
    match context {
        Context::Task => {
            f(value);
            Ok(())
        }
        Context::SoftIrq => run_in_timer::<RelativeSoftMode<Monotonic>, T, F>(value, f),
        Context::HardIrq if cfg!(CONFIG_PREEMPT_RT) => Err((EOPNOTSUPP, value)),
        // Not the hard mode: such a timer also runs in a hard interrupt on PREEMPT_RT, so it must
        // not take a lock that sleeps there, and lockdep reports that on every kernel.
        Context::HardIrq => run_in_timer::<RelativeMode<Monotonic>, T, F>(value, f),
        Context::Nmi => Err((EOPNOTSUPP, value)),
    }
}

/// A timer that runs a closure when it fires.
#[pin_data]
struct Timer<M, T, F> {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    work: SpinLockIrq<Option<(T, F)>>,
    #[pin]
    done: Completion,
    mode: PhantomData<fn(M)>,
}

/// The modes of a timer that is started by a delay.
trait Mode: HrTimerMode<Expires = Delta, Clock = Monotonic> + 'static {}

impl<M: HrTimerMode<Expires = Delta, Clock = Monotonic> + 'static> Mode for M {}

impl_has_hr_timer! {
    impl{M: Mode, T, F} HasHrTimer<Self> for Timer<M, T, F> {
        mode: M, field: self.timer
    }
}

impl<M, T, F> HrTimerCallback for Timer<M, T, F>
where
    M: Mode,
    T: Send + Unpin + 'static,
    F: FnOnce(T) + Send + Unpin + 'static,
{
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let work = this.work.lock().take();
        if let Some((value, f)) = work {
            f(value);
        }
        this.done.complete_all();
        HrTimerRestart::NoRestart
    }
}

fn run_in_timer<M, T, F>(value: T, f: F) -> core::result::Result<(), (Error, T)>
where
    M: Mode,
    T: Send + Unpin + 'static,
    F: FnOnce(T) + Send + Unpin + 'static,
{
    let timer = Arc::pin_init(
        pin_init!(Timer::<M, T, F> {
            timer <- HrTimer::new(),
            work <- new_spinlock_irq!(None, "exec::Timer"),
            done <- Completion::new(),
            mode: PhantomData,
        }),
        GFP_KERNEL,
    );
    let timer = match timer {
        Ok(timer) => timer,
        Err(error) => return Err((error, value)),
    };
    *timer.work.lock() = Some((value, f));
    // The drop of the handle waits for a callback that has not returned yet.
    let handle = timer.clone().start(Delta::from_micros(100));
    timer.done.wait_for_completion();
    drop(handle);
    Ok(())
}

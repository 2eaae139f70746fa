// SPDX-License-Identifier: GPL-2.0

//! Trace events: they go to the record of the execution.

macro_rules! trace_events {
    ($arguments:tt $($event:ident;)*) => {
        $(trace_events! { @function $arguments $event })*
    };
    (@function ($($argument:ident: $type:ty),*) $event:ident) => {
        #[allow(clippy::extra_unused_lifetimes)] // Not each event borrows an argument.
        pub(super) fn $event<'a>(arguments: impl FnOnce() -> ($($type,)*)) {
            let ($($argument,)*) = arguments();
            let fields = [$(format!(concat!(stringify!($argument), "={:?}"), $argument)),*];
            kernel::check::note(&format!("{} {}", stringify!($event), fields.join(" ")));
        }
    };
}
pub(crate) use trace_events;

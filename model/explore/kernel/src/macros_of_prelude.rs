// SPDX-License-Identifier: GPL-2.0

//! The macros of the `kernel` crate.

/// A warning of the kernel is a finding here.
#[macro_export]
macro_rules! warn_on {
    ($condition:expr) => {{
        let condition = $condition;
        assert!(!condition, "WARN_ON");
        condition
    }};
}

#[macro_export]
macro_rules! fmt {
    ($text:literal $(, $argument:expr)* $(,)?) => {
        format_args!($text $(, {
            #[allow(unused_imports)]
            use $crate::fmt::Show;
            $crate::fmt::Adapter(&$argument).show()
        })*)
    };
}

#[macro_export]
macro_rules! pr_err {
    ($($argument:tt)*) => { $crate::check::note($crate::fmt!($($argument)*).to_string().trim_end()) };
}

#[macro_export]
macro_rules! pr_warn {
    ($($argument:tt)*) => { $crate::check::note($crate::fmt!($($argument)*).to_string().trim_end()) };
}

#[macro_export]
macro_rules! static_assert {
    ($($argument:tt)*) => { const _: () = assert!($($argument)*); };
}

#[macro_export]
macro_rules! c_str {
    ($text:expr) => {{
        const TEXT: &core::ffi::CStr =
            match core::ffi::CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
                Ok(text) => text,
                Err(_) => panic!("a zero in the string"),
            };
        TEXT
    }};
}

#[macro_export]
macro_rules! optional_name {
    () => {
        $crate::c_str!(concat!(file!(), ":", line!()))
    };
    ($name:literal) => {
        $crate::c_str!($name)
    };
}

#[macro_export]
macro_rules! static_lock_class {
    () => {
        $crate::sync::LockClassKey::new_static()
    };
}

#[macro_export]
macro_rules! container_of {
    ($field_ptr:expr, $Container:ty, $($fields:tt)*) => {{
        let offset: usize = ::core::mem::offset_of!($Container, $($fields)*);
        $field_ptr.byte_sub(offset).cast::<$Container>()
    }};
}

#[macro_export]
macro_rules! try_pin_init {
    ($($argument:tt)*) => { ::pin_init::pin_init!(#[default_error($crate::error::Error)] $($argument)*) };
}

#[macro_export]
macro_rules! try_init {
    ($($argument:tt)*) => { ::pin_init::init!(#[default_error($crate::error::Error)] $($argument)*) };
}

#[macro_export]
macro_rules! new_mutex {
    ($inner:expr $(, $name:literal)?) => {
        $crate::sync::Mutex::new($inner, $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}

#[macro_export]
macro_rules! new_spinlock {
    ($inner:expr $(, $name:literal)?) => {
        $crate::sync::SpinLock::new($inner, $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}

#[macro_export]
macro_rules! new_spinlock_irq {
    ($inner:expr $(, $name:literal)?) => {
        $crate::sync::SpinLockIrq::new($inner, $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}

#[macro_export]
macro_rules! new_condvar {
    ($($name:literal)?) => {
        $crate::sync::CondVar::new()
    };
}

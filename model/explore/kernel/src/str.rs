// SPDX-License-Identifier: GPL-2.0

//! C strings.

use crate::error::{code::EINVAL, Result};
pub use core::ffi::CStr;
use core::{ffi::c_char, ops::Deref};

pub trait CStrExt {
    fn as_char_ptr(&self) -> *const c_char;
    unsafe fn from_char_ptr<'a>(ptr: *const c_char) -> &'a Self;
}

impl CStrExt for CStr {
    fn as_char_ptr(&self) -> *const c_char {
        self.as_ptr()
    }

    unsafe fn from_char_ptr<'a>(ptr: *const c_char) -> &'a Self {
        // SAFETY: The caller guarantees it.
        unsafe { CStr::from_ptr(ptr) }
    }
}

pub struct CString(std::ffi::CString);

impl CString {
    pub fn try_from_fmt(text: core::fmt::Arguments<'_>) -> Result<Self> {
        crate::alloc::may_fail()?;
        std::ffi::CString::new(text.to_string())
            .map(Self)
            .map_err(|_| EINVAL)
    }
}

impl Deref for CString {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        &self.0
    }
}

impl core::fmt::Display for CString {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

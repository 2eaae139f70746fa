// SPDX-License-Identifier: GPL-2.0

//! Error codes.

use core::{convert::Infallible, num::NonZeroI32};

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroI32);

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    pub const fn from_errno(errno: i32) -> Self {
        match NonZeroI32::new(errno) {
            Some(errno) => Self(errno),
            None => panic!("no error"),
        }
    }

    pub const fn to_errno(self) -> i32 {
        self.0.get()
    }
}

pub fn to_result(errno: i32) -> Result {
    if errno < 0 {
        Err(Error::from_errno(errno))
    } else {
        Ok(())
    }
}

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<crate::alloc::AllocError> for Error {
    fn from(_: crate::alloc::AllocError) -> Self {
        code::ENOMEM
    }
}

pub mod code {
    use super::Error;
    macro_rules! codes {
        ($($name:ident = $errno:literal,)*) => { $(pub const $name: Error = Error::from_errno(-$errno);)* };
    }
    codes! {
        ENOENT = 2, E2BIG = 7, ENOMEM = 12, EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22,
        ENOSPC = 28, ERANGE = 34, EALREADY = 114,
    }
}

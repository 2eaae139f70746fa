// SPDX-License-Identifier: GPL-2.0

//! C strings that can be made in any context.
//!
//! The in-tree `CString` allocates with `GFP_KERNEL` only.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::any_cstring::AnyCString;
//!
//! fn example() -> Result {
//!     let mut bytes = KVec::new();
//!     bytes.extend_from_slice(b"name\0", GFP_ATOMIC)?;
//!     let name = AnyCString::try_from(bytes)?;
//!     assert_eq!(&*name, c"name");
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```

use core::ops::Deref;
use kernel::{prelude::*, str::CStr};

/// A C string in memory of its own, which was allocated with any flags.
///
/// # Invariants
///
/// The last byte is a NUL, and no other one is.
pub struct AnyCString(KVec<u8>);

/// Fails with `EINVAL` where the one NUL is not at the end. Context: any.
impl TryFrom<KVec<u8>> for AnyCString {
    type Error = Error;

    fn try_from(bytes: KVec<u8>) -> Result<Self> {
        CStr::from_bytes_with_nul(&bytes).map_err(|_| EINVAL)?;
        // INVARIANT: Checked above.
        Ok(Self(bytes))
    }
}

impl Deref for AnyCString {
    type Target = CStr;

    #[inline]
    fn deref(&self) -> &CStr {
        // SAFETY: By the type invariants.
        unsafe { CStr::from_bytes_with_nul_unchecked(&self.0) }
    }
}

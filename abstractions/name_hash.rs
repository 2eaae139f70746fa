// SPDX-License-Identifier: GPL-2.0

//! Hashes of names by a function that is another one each time.
//!
//! Whoever does not know the hashes cannot make many names collide by trying; the function does not withstand an
//! attack by cryptanalysis.
//!
//! # Examples
//!
//! ```
//! use rust_kmemcg::abstractions::name_hash::NameHash;
//!
//! let hash = NameHash::random();
//! assert_eq!(hash.of(b"name"), hash.of(b"name"));
//! ```
//!
//! C header: [`include/linux/stringhash.h`](srctree/include/linux/stringhash.h)

use kernel::bindings;

/// A hash function: that of the names of files in one directory, with a secret in place of the directory.
pub struct NameHash {
    salt: usize,
}

impl NameHash {
    /// Another function each time.
    pub fn random() -> Self {
        // SAFETY: Has no requirements.
        let salt = unsafe { bindings::get_random_u64() };
        Self {
            salt: salt as usize,
        }
    }

    /// The hash of a name. Equivalent to `full_name_hash()`. Context: any.
    pub fn of(&self, name: &[u8]) -> u32 {
        let salt = core::ptr::without_provenance(self.salt);
        // SAFETY: `name` is valid for reading that many bytes. Of the salt the address is used only. A name whose
        // length does not fit is hashed up to a smaller length.
        unsafe { bindings::full_name_hash(salt, name.as_ptr().cast(), name.len() as u32) }
    }
}

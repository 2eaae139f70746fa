// SPDX-License-Identifier: GPL-2.0

//! Hashes of names, by a function with a secret key.
//!
//! It is SipHash, so that whoever chooses the names, and does not know the key, cannot make more of
//! them collide than chance does.
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
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use kernel::bindings;

/// A hash function.
pub struct NameHash {
    key: bindings::siphash_key_t,
}

impl NameHash {
    /// Another function each time.
    pub fn random() -> Self {
        // SAFETY: `get_random_u64()` has no requirements.
        let half = || unsafe { bindings::get_random_u64() };
        let key = bindings::siphash_key_t {
            key: [half(), half()],
        };
        Self { key }
    }

    /// The hash of a name. Equivalent to `siphash()`. Context: any.
    pub fn of(&self, name: &[u8]) -> u32 {
        // SAFETY: `name` is valid for reading that many bytes, at any alignment, and so is the key.
        let hash =
            unsafe { bindings::__siphash_unaligned(name.as_ptr().cast(), name.len(), &self.key) };
        hash as u32
    }
}

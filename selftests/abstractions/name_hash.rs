// SPDX-License-Identifier: GPL-2.0

//! Hashes of names.

use crate::abstractions::name_hash::NameHash;
use kernel::prelude::*;

tests! { "name_hash":
    equal_names_have_equal_hashes,
    functions_differ,
}

fn equal_names_have_equal_hashes() -> Result {
    let hash = NameHash::random();
    // Words of eight bytes are read at once. The rest counts, and where the name lies makes no difference.
    let names = b"x0123456789abcdef 0123456789abcdef";
    for length in 0..16 {
        let (one, other) = (&names[1..1 + length], &names[18..18 + length]);
        check_eq!(hash.of(one), hash.of(other));
        check!(hash.of(&names[1..2 + length]) != hash.of(one));
    }
    Ok(())
}

fn functions_differ() -> Result {
    // All equal by chance: once in 2^96.
    let first = NameHash::random().of(b"name");
    check!((0..3).any(|_| NameHash::random().of(b"name") != first));
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! C strings that can be made in any context.

use crate::abstractions::any_cstring::AnyCString;
use kernel::prelude::*;

tests! { "any_cstring":
    the_string_is_that_of_the_bytes,
    the_one_nul_is_at_the_end,
}

fn string(bytes: &[u8]) -> Result<AnyCString> {
    let mut memory = KVec::new();
    memory.extend_from_slice(bytes, GFP_ATOMIC)?;
    memory.try_into()
}

fn the_string_is_that_of_the_bytes() -> Result {
    check_eq!(&*string(b"name\0")?, c"name");
    check_eq!(&*string(b"\0")?, c"");
    Ok(())
}

fn the_one_nul_is_at_the_end() -> Result {
    for bytes in [&b""[..], b"name", b"na\0me", b"na\0me\0", b"name\0\0"] {
        check_eq!(string(bytes).err(), Some(EINVAL));
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Parses the words of a command.

pub(super) use crate::protocol::name;
use core::ops::RangeInclusive;
use kernel::prelude::*;

/// Splits a command into its words, at most `N`, and counts them. Words that are missing are empty.
///
/// # Errors
///
/// `EINVAL`: there are more words, or a character is not printable ASCII.
pub(super) fn words<const N: usize>(command: &str) -> Result<([&str; N], usize)> {
    if !command
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        return Err(EINVAL);
    }
    let mut words = [""; N];
    let mut count = 0;
    for word in command.split(' ').filter(|word| !word.is_empty()) {
        *words.get_mut(count).ok_or(EINVAL)? = word;
        count += 1;
    }
    Ok((words, count))
}

/// Checks the name of a group: a [`name`], or the path of a cgroup as the file `groups` shows it.
///
/// # Errors
///
/// `EINVAL`: it is neither.
pub(super) fn group(word: &str) -> Result<&str> {
    if word.starts_with('/') {
        Ok(word)
    } else {
        name(word)
    }
}

/// Parses a decimal number.
///
/// # Errors
///
/// `EINVAL`: it is not a decimal number. `ERANGE`: it is not in `range`.
pub(super) fn number(word: &str, range: RangeInclusive<usize>) -> Result<usize> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EINVAL);
    }
    let number = word.parse().map_err(|_| ERANGE)?;
    if !range.contains(&number) {
        return Err(ERANGE);
    }
    Ok(number)
}

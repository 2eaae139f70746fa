// SPDX-License-Identifier: GPL-2.0

//! An admission does not leave the file of the gate: there is nothing to hold one in.
//@ inside: protocol/mod.rs

#[cfg(not(fixed))]
use super::gate::Admission; //~ ERROR E0603 struct `Admission` is private
#[cfg(fixed)]
use super::gate::Entered;

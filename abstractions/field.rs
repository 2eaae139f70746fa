// SPDX-License-Identifier: GPL-2.0

//! What the `impl_has_*!` macros of this crate have in common.

/// Implements a trait that says that a type contains a field of some type: a function that borrows
/// the field and, where they are named, one that leads from the field to the structure around it,
/// and a constant that is the offset of the field.
///
/// The caller writes `unsafe`, and guarantees that the trait requires no more than that these
/// belong to one field, which is always the same and of exactly that type.
#[doc(hidden)]
#[macro_export]
macro_rules! impl_has_field {
    (
        unsafe {$($generics:tt)*} $trait:path, $self:ty { self.$field:ident: $type:ty }
        $borrow:ident $(, container: $container:ident)? $(, offset: $offset:ident)?
    ) => {
        // SAFETY: All are of one field, and nothing that it derefs to: the pattern has the field
        // itself, and the pointers are of one type. `container_of!` is the inverse of the borrow.
        // The caller guarantees that the trait requires no more.
        unsafe impl<$($generics)*> $trait for $self {
            $(const $offset: usize = ::core::mem::offset_of!($self, $field);)?

            #[inline]
            fn $borrow(&self) -> &$type {
                let Self { $field: field, .. } = self;
                let field: *const _ = field;
                let field: *const $type = field;
                // SAFETY: A field of `self`.
                unsafe { &*field }
            }

            $(
                #[inline]
                unsafe fn $container(field: *const $type) -> *const Self {
                    // SAFETY: The caller guarantees that `field` is this field of a `Self`.
                    unsafe { ::kernel::container_of!(field, Self, $field) }
                }
            )?
        }
    };
}

//! In: a table of fields with their offsets, one line each. Out: a view type with one getter a line, and the same
//! table as data for the layout test. Refuses, at compile time, an always-present field beyond `MIN_LEN`.

/// Declares a record view. A line reads `name: raw type [=> type] = "header's name" @ offset`, where `late` makes it
/// an `Option` by length, and `since VERSION` an `Option` by the version that the caller passes.
macro_rules! view {
    (
        $(#[$meta:meta])*
        pub struct $view:ident: $family:literal, at least $min:literal bytes;
        always { $($(#[$am:meta])* $a:ident: $araw:ty $(=> $aty:ty)? = $aname:literal @ $aoff:literal,)* }
        late { $($(#[$lm:meta])* $l:ident: $lraw:ty $(=> $lty:ty)? = $lname:literal @ $loff:literal,)* }
        since { $($(#[$sm:meta])* $v:ident $s:ident: $sraw:ty $(=> $sty:ty)? = $sname:literal @ $soff:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub struct $view<'a> {
            /// The start of `bytes`, with its length in the type: reads from it need no check.
            base: &'a [u8; $min],
            /// The record, no longer than it really is.
            bytes: &'a [u8],
        }

        impl<'a> $view<'a> {
            /// Shortest record that this view takes, in bytes.
            pub const MIN_LEN: usize = $min;

            /// Where the fields lie.
            pub const LAYOUT: $crate::record::Layout = $crate::record::Layout {
                family: $family,
                min_len: $min,
                fields: &[
                    $($crate::record::Field {
                        name: $aname,
                        offset: $aoff,
                        size: size_of::<$araw>(),
                        presence: $crate::record::Presence::Always,
                    },)*
                    $($crate::record::Field {
                        name: $lname,
                        offset: $loff,
                        size: size_of::<$lraw>(),
                        presence: $crate::record::Presence::Late,
                    },)*
                    $($crate::record::Field {
                        name: $sname,
                        offset: $soff,
                        size: size_of::<$sraw>(),
                        presence: $crate::record::Presence::Since($crate::ApiVersion::$v),
                    },)*
                ],
            };

            /// Views `bytes`, which start at a record's first byte and end no later than the record does;
            /// `None` where they are fewer than [`Self::MIN_LEN`].
            #[inline(always)]
            #[must_use]
            pub const fn new(bytes: &'a [u8]) -> Option<Self> {
                match bytes.first_chunk() {
                    Some(base) => Some(Self { base, bytes }),
                    None => None,
                }
            }

            /// The bytes it was made from.
            #[inline(always)]
            #[must_use]
            pub const fn as_bytes(&self) -> &'a [u8] {
                self.bytes
            }

            $(
                $(#[$am])*
                #[inline(always)]
                #[must_use]
                pub fn $a(&self) -> view!(@type $araw $(=> $aty)?) {
                    const { assert!($aoff + size_of::<$araw>() <= $min) };
                    let raw = <$araw as $crate::record::scalar::Scalar>::read::<$aoff>(self.base);
                    // The assertion above makes the default unreachable; the optimiser sees the same.
                    view!(@convert raw.unwrap_or_default(), $($aty)?)
                }
            )*
            $(
                $(#[$lm])*
                #[inline(always)]
                #[must_use]
                pub fn $l(&self) -> Option<view!(@type $lraw $(=> $lty)?)> {
                    let raw = <$lraw as $crate::record::scalar::Scalar>::read::<$loff>(self.bytes)?;
                    Some(view!(@convert raw, $($lty)?))
                }
            )*
            $(
                $(#[$sm])*
                #[inline(always)]
                #[must_use]
                pub fn $s(&self, version: $crate::ApiVersion) -> Option<view!(@type $sraw $(=> $sty)?)> {
                    if version < $crate::ApiVersion::$v {
                        return None;
                    }
                    let raw = <$sraw as $crate::record::scalar::Scalar>::read::<$soff>(self.bytes)?;
                    Some(view!(@convert raw, $($sty)?))
                }
            )*
        }

        impl core::fmt::Debug for $view<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($view))
                    $(.field(stringify!($a), &self.$a()))*
                    $(.field(stringify!($l), &self.$l()))*
                    .finish()
            }
        }
    };
    (@type $raw:ty) => { $raw };
    (@type $raw:ty => $type:ty) => { $type };
    (@convert $raw:expr,) => { $raw };
    (@convert $raw:expr, $type:ty) => { <$type as $crate::record::scalar::FromRaw<_>>::from_raw($raw) };
}
pub(crate) use view;

//! In: a table of named numbers from a CUPTI header. Out: an open newtype over the C type, which keeps a number
//! that no header had yet. Refuses nothing: a closed Rust enum could not hold what a newer CUPTI may send.

/// Declares a transparent newtype with named constants, `name()`, `From` and a `Debug` that prefers the name.
macro_rules! open_newtype {
    (
        $(#[$meta:meta])*
        pub struct $type:ident($raw:ty), prefix $prefix:literal { $($constant:ident = $value:expr,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $type(pub $raw);

        impl $type {
            $(
                #[doc = concat!("`", $prefix, stringify!($constant), "`, ", stringify!($value), ".")]
                pub const $constant: Self = Self($value);
            )*

            /// Every number that has a name here.
            pub const NAMED: &[Self] = &[$(Self::$constant),*];

            /// The header's name without its prefix; `None` for a number that is not named here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some(stringify!($constant)),)*
                    _ => None,
                }
            }
        }

        impl From<$raw> for $type {
            fn from(raw: $raw) -> Self {
                Self(raw)
            }
        }

        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => write!(f, concat!(stringify!($type), "({})"), name),
                    None => write!(f, concat!(stringify!($type), "({})"), self.0),
                }
            }
        }
    };
}
pub(crate) use open_newtype;

//! In: the numbers by which CUPTI names CUDA API functions and events. Out: their names, and groups to ask for.
//! Refuses nothing: an id that is not named here stays a number.

mod driver;
mod resource;
mod runtime;

pub use driver::{
    ALLOC_DRIVER, DriverCbid, LAUNCH_DRIVER, MEMCPY_DRIVER, MEMSET_DRIVER, MODULE_DRIVER, SYNC_DRIVER,
};
pub use resource::ResourceCbid;
pub use runtime::{
    ALLOC_RUNTIME, LAUNCH_RUNTIME, MEMCPY_RUNTIME, MEMSET_RUNTIME, MODULE_RUNTIME, RuntimeCbid, SYNC_RUNTIME,
};

use crate::open::open_newtype;

open_newtype! {
    /// `CUpti_CallbackDomain`: the table that a callback id belongs to.
    pub struct CallbackDomain(u32), prefix "CUPTI_CB_DOMAIN_" {
        INVALID = 0,
        DRIVER_API = 1,
        RUNTIME_API = 2,
        RESOURCE = 3,
        SYNCHRONIZE = 4,
        NVTX = 5,
        STATE = 6,
    }
}

/// Declares an open newtype over callback ids, its constants under the header's own names, and one slice a group.
/// `since` is the first `CUPTI_API_VERSION` whose header names the function, stated where that is later than 12.5,
/// the first CUPTI that can be asked for single functions.
macro_rules! cbids {
    (
        $(#[$meta:meta])*
        pub struct $type:ident;
        $($(#[$gm:meta])* $group:ident { $($name:ident = $id:literal $(since $since:literal)?,)* })*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $type(pub u32);

        #[expect(non_upper_case_globals, reason = "the header's own names can be searched for")]
        impl $type {
            $($(
                #[doc = concat!("`", stringify!($name), "`, ", stringify!($id), ".")]
                pub const $name: Self = Self($id);
            )*)*

            /// The function's name in the header; `None` for a function that is not named here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $($(Self::$name => Some(stringify!($name)),)*)*
                    _ => None,
                }
            }

            /// Whether the headers of a CUPTI of this version name the function. Ask that CUPTI for no other.
            #[must_use]
            pub fn is_known_to(self, version: $crate::ApiVersion) -> bool {
                match self {
                    $($($(Self::$name => version.0 >= $since,)?)*)*
                    _ => true,
                }
            }
        }

        $(
            $(#[$gm])*
            pub const $group: &[$type] = &[$($type::$name),*];
        )*

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
use cbids;

#[cfg(test)]
mod tests {
    use super::{DriverCbid, LAUNCH_DRIVER, LAUNCH_RUNTIME, RuntimeCbid};
    use crate::ApiVersion;

    #[test]
    fn a_function_reads_as_the_header_names_it() {
        assert_eq!(DriverCbid(307).name(), Some("cuLaunchKernel"));
        assert_eq!(RuntimeCbid(211).name(), Some("cudaLaunchKernel_v7000"));
        assert_eq!(DriverCbid(60_000).name(), None);
    }

    #[test]
    fn a_launch_that_came_with_13_0_is_not_asked_of_12_9() {
        let asked = |version| LAUNCH_RUNTIME.iter().filter(move |cbid| cbid.is_known_to(version)).count();
        assert_eq!(asked(ApiVersion::V12_9), LAUNCH_RUNTIME.len() - 2);
        assert_eq!(asked(ApiVersion::V13_0), LAUNCH_RUNTIME.len());
    }

    #[test]
    fn graph_launches_are_launches() {
        assert_eq!(LAUNCH_DRIVER.iter().filter(|cbid| cbid.is_graph_launch()).count(), 3);
        assert_eq!(LAUNCH_RUNTIME.iter().filter(|cbid| cbid.is_graph_launch()).count(), 2);
    }
}

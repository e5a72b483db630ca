//! The declaration of options: one place for type, flag, variable, default and documentation of each key.
//!
//! Enters: a component's declaration. Leaves: a struct that clap and serde both fill, its merge, and its table for
//! the documentation. Refuses: a key without documentation or default.

/// A table of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name in the file.
    pub name: &'static str,
    /// What it configures.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in the table; ends with its unit.
    pub name: &'static str,
    /// Long flag, without dashes.
    pub flag: &'static str,
    /// Variable.
    pub variable: &'static str,
    /// Default, as a user would write it.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// Declares a component's options.
///
/// ```text
/// options! {
///     /// What the table configures.
///     pub struct Options["table"] {
///         /// What the key does.
///         key: Type, "flag", "GPU_AGENT_VARIABLE", default "as written" $(, clap attributes)?;
///     }
/// }
/// ```
macro_rules! options {
    ($(#[doc = $about:literal])+ pub struct $options:ident[$table:literal] {$(
        $(#[doc = $help:literal])+
        $key:ident: $kind:ty, $flag:literal, $variable:literal, default $default:literal $(, $clap:meta)*;
    )+}) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
        #[group(skip)]
        #[serde(deny_unknown_fields, default)]
        pub struct $options {$(
            $(#[doc = $help])+
            #[arg(
                id = concat!($table, ".", stringify!($key)),
                long = $flag,
                env = $variable,
                hide_env_values = true,
                help = concat!($($help,)+ " [default: ", $default, "]").trim_ascii_start(),
                $($clap,)*
            )]
            pub $key: Option<$kind>,
        )+}

        impl $options {
            /// The keys, for the documentation.
            pub const TABLE: $crate::config::option::Table = $crate::config::option::Table {
                name: $table,
                about: concat!($($about,)+),
                keys: &[$($crate::config::option::Key {
                    name: stringify!($key),
                    flag: $flag,
                    variable: $variable,
                    default: $default,
                    help: concat!($($help,)+),
                },)+],
            };

            /// Each key from `self` where it has it, else from `lower`.
            #[must_use]
            pub fn or(self, lower: Self) -> Self {
                Self { $($key: self.$key.or(lower.$key),)+ }
            }
        }
    };
}

pub(crate) use options;

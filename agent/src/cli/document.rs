//! The second part of `docs/configuration.md`: what a command line may say that no file may.
//!
//! Enters: the declarations of the commands. Leaves: Markdown. Refuses: text of its own about a flag: that is written where the
//! flag is.

use std::collections::BTreeSet;

use clap::{Arg, Args, Command, CommandFactory, Id};

use super::Cli;
use crate::config::Options;

/// The document, with [`config::document`](crate::config::document) before it. A test holds `docs/configuration.md` to it.
#[must_use]
pub fn markdown() -> String {
    let mut text = crate::config::document::markdown();
    let of_file: BTreeSet<Id> = Options::augment_args(Command::new(""))
        .get_arguments()
        .map(|argument| argument.get_id().clone())
        .collect();
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let flags: Vec<&Arg> = command.get_arguments().filter(|flag| is_own(flag, &of_file)).collect();
        if flags.is_empty() {
            continue;
        }
        text.push_str(&format!("\n## `gpu-agent {}`\n\n", command.get_name()));
        text.push_str("| flag and variable | default | |\n|---|---|---|\n");
        flags.into_iter().for_each(|flag| text.push_str(&row(flag)));
    }
    text
}

/// Not one of the file's, nor one that every command has.
fn is_own(flag: &Arg, of_file: &BTreeSet<Id>) -> bool {
    let is_known = of_file.contains(flag.get_id()) || flag.is_global_set();
    flag.get_long().is_some_and(|name| name != "help") && !is_known
}

fn row(flag: &Arg) -> String {
    let mut names = format!("`--{}`", flag.get_long().unwrap_or_default());
    for alias in flag.get_visible_aliases().unwrap_or_default() {
        names.push_str(&format!(", `--{alias}`"));
    }
    if let Some(variable) = flag.get_env() {
        names.push_str(&format!("<br>`{}`", variable.to_string_lossy()));
    }
    let takes_value = flag.get_action().takes_values();
    let default = match flag.get_default_values() {
        [] => "–".to_owned(),
        _ if !takes_value => "–".to_owned(),
        values => {
            values.iter().map(|value| format!("`{}`", value.to_string_lossy())).collect::<Vec<_>>().join(", ")
        }
    };
    let mut help = flag.get_help().map(|help| format!("{help}.")).unwrap_or_default();
    if takes_value {
        for value in flag.get_possible_values() {
            let what = value.get_help().map(ToString::to_string).unwrap_or_default();
            help.push_str(&format!(" `{}`: {}", value.get_name(), what.trim_end_matches('.')));
            help.push('.');
        }
    }
    format!("| {names} | {default} | {} |\n", help.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::markdown;

    #[test]
    fn docs_configuration_md_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(committed, markdown(), "run: cargo run -p gpu-agent --example reference");
    }

    #[test]
    fn flags_that_load_the_shim_are_told_with_their_defaults() {
        let text = markdown();
        let attach = text.split("## `gpu-agent attach`").nth(1).unwrap().split("\n## ").next().unwrap();
        let row = |flag: &str| {
            attach.lines().find(|line| line.starts_with(&format!("| `--{flag}`"))).unwrap().to_owned()
        };
        assert!(row("inject").contains("| `auto` |"), "{attach}");
        assert!(row("inject-timeout").contains("| `5s` |"), "{attach}");
        assert!(row("shim").contains("GPU_AGENT_SHIM_PATH"), "{attach}");
        assert!(row("duration").contains("--detach-after"), "{attach}");
        row("all");
        row("wait");
    }
}

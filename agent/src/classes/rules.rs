//! The rules that class kernels, read from TOML.
//!
//! Enters: rule files. Leaves: a [`Classifier`]: name in, [`KernelName`] out. Refuses: unknown keys, unknown classes,
//! patterns that are no regular expressions, rules that contradict themselves; the message names the rule.

use std::sync::Arc;

use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::display::display_name;
use super::{Class, KernelName, Operation};
use crate::demangle;

/// The bundled rules.
const BUNDLED: &str = include_str!("../../classes/kernels.toml");

/// Why a rule file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// Not TOML, or not of our schema.
    #[error("kernel classes in {file}: {source}")]
    Parse {
        /// The file.
        file: String,
        /// What is wrong, and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A pattern is no regular expression, or a set of them is too large.
    #[error("kernel classes in {file}: {source}")]
    Pattern {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<regex::Error>,
    },
    /// `use_v1` without paged attention.
    #[error(
        "kernel classes in {file}: rule {rule} sets use_v1, which only operation = \"paged_attention\" knows"
    )]
    UseV1 {
        /// The file.
        file: String,
        /// Number of the rule, from 1.
        rule: usize,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    class: Class,
    /// Regular expressions, looked for in the demangled name.
    names: Vec<String>,
    operation: Option<OperationName>,
    use_v1: Option<bool>,
}

#[derive(Debug, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum OperationName {
    PagedAttention,
    PagedAttentionReduce,
    CacheUpdate,
}

/// Classes kernels by their names: the first pattern that matches decides.
#[derive(Debug)]
pub struct Classifier {
    patterns: RegexSet,
    /// What each pattern means.
    meanings: Vec<(Class, Option<Operation>)>,
}

impl Classifier {
    /// The bundled rules alone.
    pub fn bundled() -> Result<Self, ClassError> {
        Self::with_files(&[])
    }

    /// The rules of `files` (name and text), in their order, and after them the bundled ones.
    pub fn with_files(files: &[(String, String)]) -> Result<Self, ClassError> {
        let bundled = ("the bundled kernels.toml", BUNDLED);
        let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).chain([bundled]);
        let mut patterns = Vec::new();
        let mut meanings = Vec::new();
        for (file, text) in files {
            let parsed: File = toml::from_str(text)
                .map_err(|source| ClassError::Parse { file: file.to_owned(), source: Box::new(source) })?;
            for (index, rule) in parsed.rule.into_iter().enumerate() {
                let operation =
                    rule.operation().ok_or(ClassError::UseV1 { file: file.to_owned(), rule: index + 1 })?;
                meanings.extend(rule.names.iter().map(|_| (rule.class, operation)));
                patterns.extend(rule.names);
            }
            // Compiled file by file once, so that the error names the right one.
            compile(&patterns)
                .map_err(|source| ClassError::Pattern { file: file.to_owned(), source: Box::new(source) })?;
        }
        let patterns = compile(&patterns).map_err(|source| ClassError::Pattern {
            file: "all files together".to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { patterns, meanings })
    }

    /// Looks at a name. Costs some microseconds: once a name, not once a record.
    #[must_use]
    pub fn classify(&self, raw: &str) -> KernelName {
        let full = demangle::name(raw);
        let display = display_name(raw, &full);
        let matched = self.patterns.matches(full.as_bytes()).iter().next();
        let (class, operation) =
            matched.and_then(|pattern| self.meanings.get(pattern)).copied().unwrap_or((Class::Other, None));
        KernelName { raw: Arc::from(raw), display: Arc::from(display), class, operation }
    }
}

/// Names are ASCII in practice, so case and word borders need no Unicode tables.
fn compile(patterns: &[String]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns).unicode(false).build()
}

impl Rule {
    /// The operation; `None` if the rule contradicts itself.
    fn operation(&self) -> Option<Option<Operation>> {
        match (self.operation, self.use_v1) {
            (Some(OperationName::PagedAttention), use_v1) => Some(Some(Operation::PagedAttention { use_v1 })),
            (_, Some(_)) => None,
            (Some(OperationName::PagedAttentionReduce), None) => Some(Some(Operation::PagedAttentionReduce)),
            (Some(OperationName::CacheUpdate), None) => Some(Some(Operation::CacheUpdate)),
            (None, None) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Classifier, Operation};

    fn classifier() -> Classifier {
        Classifier::bundled().expect("the bundled rules are valid")
    }

    /// Names as real programs and profilers show them, in the demangled form, unless mangled here.
    #[test]
    fn real_kernels_have_the_class_that_their_authors_would_give_them() {
        let classifier = classifier();
        let cases = include_str!("../../classes/examples.txt");
        let mut count = 0;
        for line in cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (class, name) = line.split_once(' ').expect("class, blank, name");
            let found = classifier.classify(name);
            assert_eq!(found.class.name(), class, "{name} (shown as {})", found.display);
            count += 1;
        }
        assert!(count > 100, "only {count} examples");
    }

    #[test]
    fn the_bundled_kernels_make_operations() {
        let classifier = classifier();
        let operation = |name: &str| classifier.classify(name).operation;
        let attention = |use_v1| Some(Operation::PagedAttention { use_v1: Some(use_v1) });
        assert_eq!(operation("paged_attention_v1_f16_h128_b16"), attention(true));
        assert_eq!(operation("paged_attention_v2_bf16_h64_b32"), attention(false));
        assert_eq!(operation("paged_attention_v2_reduce_f16_h128"), Some(Operation::PagedAttentionReduce));
        assert_eq!(operation("reshape_and_cache_f32"), Some(Operation::CacheUpdate));
        assert_eq!(operation("copy_blocks_f16"), None, "moving blocks writes nothing new");
        assert_eq!(operation("gemm_f16"), None);
    }

    #[test]
    fn mangled_names_class_like_demangled_ones() {
        let raw = "_ZN4vllm25paged_attention_v1_kernelIttLi128ELi16ELi128ELNS_18Fp8KVCacheDataTypeE0ELb0EEEvPT_PKS2_PKT0_S8_ifPKiSA_iPKfiiiSC_SC_iiiii";
        let name = classifier().classify(raw);
        assert_eq!(name.operation, Some(Operation::PagedAttention { use_v1: Some(true) }));
        assert!(name.display.starts_with("vllm::paged_attention_v1_kernel<"), "{}", name.display);
    }

    #[test]
    fn a_users_rules_come_first() {
        let text = "[[rule]]\nclass = \"gemm\"\nnames = ['^reshape_and_cache']\n";
        let classifier = Classifier::with_files(&[("mine.toml".into(), text.into())]).unwrap();
        assert_eq!(classifier.classify("reshape_and_cache_f16").class, Class::Gemm);
        assert_eq!(classifier.classify("rms_norm_f16").class, Class::Norm);
    }

    #[test]
    fn a_wrong_file_is_refused_by_name() {
        let refuse = |text: &str| {
            Classifier::with_files(&[("mine.toml".into(), text.into())]).unwrap_err().to_string()
        };
        assert!(refuse("[[rule]]\nclass = \"gem\"\nnames = ['a']").contains("mine.toml"));
        assert!(refuse("[[rule]]\nclass = \"gemm\"\nnames = ['(']").contains("mine.toml"));
        assert!(refuse("[[rule]]\nclass = \"gemm\"\nname = ['a']").contains("unknown field"));
        assert!(refuse("[[rule]]\nclass = \"gemm\"\nuse_v1 = true\nnames = ['a']").contains("rule 1"));
    }
}

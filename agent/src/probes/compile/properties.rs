//! Expressions that are made up, compared with what they mean.

use proptest::prelude::*;

use super::super::plan::Reader;
use super::super::simulate::Process;
use super::super::specification::Specification;
use super::*;
use crate::event::FieldValue;

/// An expression over the arguments `a`, `b` and `c`.
#[derive(Debug, Clone)]
enum Formula {
    Number(u32),
    Argument(usize),
    Negate(Box<Self>),
    Apply(&'static str, Box<Self>, Box<Self>),
}

const OPERATORS: [&str; 11] = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">="];

fn formulas() -> impl Strategy<Value = Formula> {
    let leaf = prop_oneof![any::<u32>().prop_map(Formula::Number), (0..3_usize).prop_map(Formula::Argument)];
    leaf.prop_recursive(5, 24, 2, |inner| {
        let negate = inner.clone().prop_map(|of| Formula::Negate(Box::new(of)));
        let apply = (prop::sample::select(&OPERATORS[..]), inner.clone(), inner)
            .prop_map(|(operator, left, right)| Formula::Apply(operator, Box::new(left), Box::new(right)));
        prop_oneof![1 => negate, 4 => apply]
    })
}

impl Formula {
    fn written(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Argument(index) => ["a", "b", "c"][*index].to_owned(),
            Self::Negate(of) => format!("-({})", of.written()),
            Self::Apply(operator, left, right) => {
                format!("({}) {operator} ({})", left.written(), right.written())
            }
        }
    }

    fn meant(&self, arguments: &[i64; 3]) -> Option<i128> {
        match self {
            Self::Number(number) => Some((*number).into()),
            Self::Argument(index) => Some(arguments[*index].into()),
            Self::Negate(of) => of.meant(arguments)?.checked_neg(),
            Self::Apply(operator, left, right) => {
                let (left, right) = (left.meant(arguments)?, right.meant(arguments)?);
                match *operator {
                    "+" => left.checked_add(right),
                    "-" => left.checked_sub(right),
                    "*" => left.checked_mul(right),
                    "/" => left.checked_div(right),
                    "%" => left.checked_rem(right),
                    "==" => Some((left == right).into()),
                    "!=" => Some((left != right).into()),
                    "<" => Some((left < right).into()),
                    "<=" => Some((left <= right).into()),
                    ">" => Some((left > right).into()),
                    _ => Some((left >= right).into()),
                }
            }
        }
    }

    fn is_comparison(&self) -> bool {
        matches!(self, Self::Apply("==" | "!=" | "<" | "<=" | ">" | ">=", _, _))
    }
}

fn specification(field: &str) -> String {
    format!(
        "engine = 'e'\nexecutable = true\n[[probe]]\nname = 'p'\nop = 'other'\n\
         signature = 'void f(long a, long b, long c)'\nfields.x = '{field}'\n"
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions_mean_what_arithmetic_says(formula in formulas(), arguments in any::<[i64; 3]>()) {
        let specification = Specification::parse("e.toml", &specification(&formula.written())).unwrap();
        let instance = &specification.probes[0].variants[0].instances[0];
        let compiled = instance.compile(&specification.scope, Arch::X86_64).unwrap();
        let registers = [5, 4, 1].into_iter().zip(arguments.map(|argument| argument as u64)).collect();
        let entry = Process { registers, ..Process::default() }.run(&compiled.entry);
        let values = compiled.reader.values(entry.fetched(), None);
        let wanted = formula.meant(&arguments).and_then(|value| {
            if formula.is_comparison() {
                return Some(FieldValue::Boolean(value != 0));
            }
            let integer = i64::try_from(value).map(FieldValue::Integer);
            integer.or_else(|_| u64::try_from(value).map(FieldValue::Unsigned)).ok()
        });
        prop_assert_eq!(values.unreadable, u32::from(wanted.is_none()));
        prop_assert_eq!(values.fields.first().map(|(_, value)| value.clone()), wanted);
    }

    #[test]
    fn any_text_is_an_expression_or_refused_within_its_line(text in "[abc0-9+*/%<>=!().,\\[\\] -]{0,40}") {
        if let Err(error) = Specification::parse("e.toml", &specification(&text)) {
            prop_assert_eq!(error.line, 7, "{}", error);
            prop_assert!(error.column > 10 && error.column <= 14 + text.len(), "{}", error);
        }
    }
}

//! Expressions over arguments, as in C.
//!
//! Enters: text. Leaves: an [`Expression`]. Refuses: what C has and probes do not need (calls, casts, assignments).

use std::ops::Range;

use super::scan::{Scanner, Token};
use super::source::{SpecError, Text};

/// An expression, and where it stands in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) node: Node,
    pub(super) at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Number(u64),
    Name(String),
    Return,
    /// `x.name`, `x->name`
    Member {
        of: Box<Expression>,
        name: String,
        name_at: Range<usize>,
        is_arrow: bool,
    },
    /// `x[3]`; of a name that is a table, `NAME[expression]`.
    Index {
        of: Box<Expression>,
        index: Box<Expression>,
    },
    /// `x[..n]`
    Slice {
        of: Box<Expression>,
        count: Box<Expression>,
    },
    Dereference(Box<Expression>),
    Reverse(Box<Expression>),
    Negate(Box<Expression>),
    Binary {
        operator: Operator,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    /// `[a, b]`
    List(Vec<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Operator {
    pub(super) fn is_comparison(self) -> bool {
        !matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder)
    }
}

/// Operators, the loosest first.
const LEVELS: [&[(&str, Operator)]; 4] = [
    &[("==", Operator::Equal), ("!=", Operator::NotEqual)],
    &[("<=", Operator::AtMost), (">=", Operator::AtLeast), ("<", Operator::Less), (">", Operator::More)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];
/// Expressions in expressions, at most: what reads them is recursive.
const DEPTH: usize = 32;

impl Expression {
    pub(super) fn parse(text: &Text) -> Result<Self, SpecError> {
        let mut parser = Parser { scanner: Scanner::new(text), depth: 0 };
        let found = parser.level(0)?;
        parser.scanner.expect_end()?;
        Ok(found)
    }

    fn new(node: Node, at: Range<usize>) -> Self {
        Self { node, at }
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    depth: usize,
}

impl Parser<'_> {
    /// What one level of operators joins.
    fn level(&mut self, level: usize) -> Result<Expression, SpecError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        let mut joined = 0;
        while let Token::Mark(mark) = self.scanner.peek()?
            && let Some((_, operator)) = operators.iter().find(|(written, _)| *written == mark)
        {
            self.scanner.next()?;
            let right = self.level(level + 1)?;
            joined += 1;
            self.bound(joined, left.at.start)?;
            let at = left.at.start..right.at.end;
            let node = Node::Binary { operator: *operator, left: Box::new(left), right: Box::new(right) };
            left = Expression::new(node, at);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, SpecError> {
        let start = self.scanner.start();
        self.depth += 1;
        self.bound(self.depth, start)?;
        let found = if self.scanner.takes("-")? {
            let of = self.unary()?;
            let at = start..of.at.end;
            Expression::new(Node::Negate(Box::new(of)), at)
        } else if self.scanner.takes("*")? {
            let of = self.unary()?;
            let at = start..of.at.end;
            Expression::new(Node::Dereference(Box::new(of)), at)
        } else {
            self.postfix()?
        };
        self.depth -= 1;
        Ok(found)
    }

    fn postfix(&mut self) -> Result<Expression, SpecError> {
        let mut found = self.primary()?;
        let start = found.at.start;
        for links in 0.. {
            self.bound(links, start)?;
            let is_arrow = self.scanner.takes("->")?;
            let node = if is_arrow || self.scanner.takes(".")? {
                let name_start = self.scanner.start();
                let Token::Word(name) = self.scanner.peek()? else {
                    return Err(self.scanner.unexpected("the name of a member"));
                };
                let name = name.to_owned();
                self.scanner.next()?;
                Node::Member { of: Box::new(found), name, name_at: name_start..self.scanner.end(), is_arrow }
            } else if self.scanner.takes("[")? {
                if self.scanner.takes("..")? {
                    Node::Slice { of: Box::new(found), count: Box::new(self.closed("]")?) }
                } else {
                    Node::Index { of: Box::new(found), index: Box::new(self.closed("]")?) }
                }
            } else {
                break;
            };
            found = Expression::new(node, start..self.scanner.end());
        }
        Ok(found)
    }

    fn primary(&mut self) -> Result<Expression, SpecError> {
        let start = self.scanner.start();
        let node = match self.scanner.peek()? {
            Token::Number(number) => {
                self.scanner.next()?;
                Node::Number(number)
            }
            Token::Word("return") => {
                self.scanner.next()?;
                Node::Return
            }
            Token::Word(word) => {
                self.scanner.next()?;
                if word == "reverse" && self.scanner.takes("(")? {
                    Node::Reverse(Box::new(self.closed(")")?))
                } else {
                    Node::Name(word.to_owned())
                }
            }
            Token::Mark("(") => {
                self.scanner.next()?;
                self.closed(")")?.node
            }
            Token::Mark("[") => {
                self.scanner.next()?;
                let mut elements = Vec::new();
                if !self.scanner.takes("]")? {
                    loop {
                        elements.push(self.level(0)?);
                        if self.scanner.takes("]")? {
                            break;
                        }
                        self.scanner.expect(",")?;
                    }
                }
                Node::List(elements)
            }
            _ => return Err(self.scanner.unexpected("an argument, a number or `(`")),
        };
        Ok(Expression::new(node, start..self.scanner.end()))
    }

    /// An expression and the mark that closes it.
    fn closed(&mut self, mark: &str) -> Result<Expression, SpecError> {
        let found = self.level(0)?;
        self.scanner.expect(mark)?;
        Ok(found)
    }

    fn bound(&self, depth: usize, start: usize) -> Result<(), SpecError> {
        if depth <= DEPTH {
            return Ok(());
        }
        Err(self
            .scanner
            .error(start..self.scanner.end(), format!("more than {DEPTH} expressions in one another")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn parsed(text: &str) -> Result<Expression, SpecError> {
        let source = Source { file: "x".into(), text: text.into() };
        Expression::parse(&Text::at(&source, text, 0..text.len()))
    }

    /// The expression with all its parentheses.
    fn shown(expression: &Expression) -> String {
        match &expression.node {
            Node::Number(number) => number.to_string(),
            Node::Name(name) => name.clone(),
            Node::Return => "return".to_owned(),
            Node::Member { of, name, is_arrow, .. } => {
                format!("{}{}{name}", shown(of), if *is_arrow { "->" } else { "." })
            }
            Node::Index { of, index } => format!("{}[{}]", shown(of), shown(index)),
            Node::Slice { of, count } => format!("{}[..{}]", shown(of), shown(count)),
            Node::Dereference(of) => format!("(*{})", shown(of)),
            Node::Reverse(of) => format!("reverse({})", shown(of)),
            Node::Negate(of) => format!("(-{})", shown(of)),
            Node::Binary { operator, left, right } => {
                format!("({} {operator:?} {})", shown(left), shown(right))
            }
            Node::List(elements) => elements.iter().map(|e| shown(e) + ";").collect(),
        }
    }

    #[test]
    fn operators_bind_as_in_c() {
        for (written, meant) in [
            ("a + b * c", "(a Add (b Multiply c))"),
            ("(a + b) * c", "((a Add b) Multiply c)"),
            ("a - b - c", "((a Subtract b) Subtract c)"),
            ("a / 2 == b % 3", "((a Divide 2) Equal (b Remainder 3))"),
            ("-a->b[1].c", "(-a->b[1].c)"),
            ("*a.b", "(*a.b)"),
            ("(*a).b", "(*a).b"),
            ("sizes[..rank - 1]", "sizes[..(rank Subtract 1)]"),
            ("reverse(ne)", "reverse(ne)"),
            ("reverse", "reverse"),
            ("[a, b * 2]", "a;(b Multiply 2);"),
            ("dtypes[return]", "dtypes[return]"),
            ("a < b", "(a Less b)"),
            ("0x10", "16"),
        ] {
            assert_eq!(shown(&parsed(written).unwrap()), meant, "{written}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_where_it_stands() {
        for (written, column, message) in [
            ("", 1, "it ends here, but an argument, a number or `(` is missing"),
            ("a +", 4, "it ends here, but an argument, a number or `(` is missing"),
            ("a b", 3, "`b` is not expected here"),
            ("[a, b", 6, "it ends here, but `,` is missing"),
            ("f(a)", 2, "`(` is not expected here"),
            ("a.1", 3, "`1` is not expected here"),
            (
                "99999999999999999999",
                1,
                "`99999999999999999999` is no number: number too large to fit in target type",
            ),
        ] {
            let error = parsed(written).unwrap_err();
            assert_eq!((error.column, error.message.as_str()), (column, message), "{written}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for text in [
            "(".repeat(40_000),
            "-".repeat(40_000),
            "a+".repeat(40_000),
            "a".to_owned() + &".b".repeat(40_000),
        ] {
            assert!(parsed(&text).is_err());
        }
    }
}

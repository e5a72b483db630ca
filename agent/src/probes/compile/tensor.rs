//! Tensors: by the rules of their types, or by what the specification says of a pointer.
//!
//! Enters: a [`TensorRule`]. Leaves: a [`TensorReader`]. Refuses: what has neither a tensor's type nor a shape.

use std::ops::Range;
use std::sync::Arc;

use gpu_agent_ebpf_abi::{FIXED, condition, kind};

use super::lvalue::Located;
use super::{Compiler, Names, Phase};
use crate::probes::dtype;
use crate::probes::expression::{Expression, Node};
use crate::probes::fetch::{ELEMENTS, FetchError, Place, Wanted};
use crate::probes::reader::{Elements, Heap, Load, Number, Shape, TensorReader, Torch, Type as Dtype, torch};
use crate::probes::source::{SpecError, Text};
use crate::probes::types::{TensorRule, Type};

/// Types that stand for tensors through others, at most.
const DEPTH: usize = 8;

/// A PyTorch tensor.
pub(super) struct Window {
    place: Place,
    phase: Phase,
    purpose: String,
    /// Which of the reader's tensors.
    tensor: usize,
}

/// What is known of a tensor so far.
#[derive(Default)]
struct Found {
    conditions: Vec<Number>,
    shape: Option<Shape>,
    dtype: Option<Dtype>,
}

impl Compiler<'_> {
    /// Compiles one of a probe's tensors; `whole` stands for all of it in messages.
    pub(super) fn tensor(
        &mut self,
        name: &Arc<str>,
        whole: &Text,
        rule: &TensorRule,
    ) -> Result<TensorReader, SpecError> {
        let mut found = Found::default();
        self.condition(rule.condition.as_ref(), Names::Arguments, &mut found.conditions)?;
        let implied;
        let of = match &rule.of {
            Some(of) => of,
            None if self.signature.argument(name).is_some() => {
                implied = whole.meaning(name);
                &implied
            }
            None => {
                return Err(whole
                    .error_whole(format!("`{name}` is no argument of {}", self.signature.name))
                    .help("expected `of = …`: the tensor, or the pointer to its data"));
            }
        };
        let is_declared = rule.shape.is_some();
        if let Some(shape) = &rule.shape {
            found.shape = Some(self.shape(shape, Names::Arguments)?);
        }
        if let Some(dtype) = &rule.dtype {
            found.dtype = Some(self.dtype(dtype, Names::Arguments)?);
        }
        let expression = Expression::parse(of)?;
        let value = self.locate(of, &expression, Names::Arguments)?;
        self.described(of, expression.at, value, is_declared, &mut found, 0)?;
        let Some(shape) = found.shape else {
            return Err(of.error_whole("this tensor has no shape").help("expected `shape = \"[…]\"`"));
        };
        self.tensors += 1;
        let dtype = found.dtype.unwrap_or(Dtype::Unknown);
        Ok(TensorReader { name: name.clone(), conditions: found.conditions, shape, dtype })
    }

    /// What a value's type says of it as a tensor.
    fn described(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
        is_declared: bool,
        found: &mut Found,
        depth: usize,
    ) -> Result<(), SpecError> {
        let mut value = self.through_reference(text, at.clone(), value)?;
        if let Type::Pointer(to) = self.scope.types.resolve(&value.r#type) {
            let purpose = text.value.get(at.clone()).unwrap_or_default().to_owned();
            let pointer = self.fetch(value.phase).pointer(&value.place, &purpose);
            let (output, place) = pointer.map_err(|error| self.refused(text, at.clone(), error))?;
            let (phase, read, at) = (value.phase, output.read, output.at);
            found.conditions.push(Number::Load(Load { phase, read, at, bytes: 8, signed: false, shift: 0 }));
            value = Located { place, r#type: *to, ..value };
        }
        if is_declared {
            return Ok(());
        }
        let of = self.scope.types.r#struct(&value.r#type);
        let Some((of, rule)) = of.as_ref().and_then(|of| Some((of, of.tensor.as_ref()?))) else {
            return Err(text
                .error(at, format!("`{}` is no type of tensors", value.r#type))
                .help("expected `shape = \"[…]\"`, or a type that says under [types] how it is a tensor"));
        };
        if depth == DEPTH {
            return Err(text.error(at, format!("`{}` is a tensor through too many others", value.r#type)));
        }
        if rule.is_torch {
            found.shape = Some(Shape::Torch(self.torch(text, at, &value)?));
            if let (None, Some(table)) = (&found.dtype, self.scope.tables.get("torch")) {
                found.dtype = Some(Dtype::Own(table.clone()));
            }
            return Ok(());
        }
        let names = Names::Members { of, at: &value };
        self.condition(rule.condition.as_ref(), names, &mut found.conditions)?;
        if let (None, Some(dtype)) = (&found.dtype, &rule.dtype) {
            found.dtype = Some(self.dtype(dtype, names)?);
        }
        if let Some(shape) = &rule.shape {
            found.shape = Some(self.shape(shape, names)?);
        }
        match &rule.of {
            Some(of) => {
                let expression = Expression::parse(of)?;
                let inner = self.locate(of, &expression, names)?;
                self.described(of, expression.at, inner, rule.shape.is_some(), found, depth + 1)
            }
            None => Ok(()),
        }
    }

    fn shape(&mut self, text: &Text, names: Names<'_>) -> Result<Shape, SpecError> {
        let expression = Expression::parse(text)?;
        if let Node::List(sizes) = &expression.node {
            if sizes.len() > ELEMENTS as usize {
                return Err(text.error(
                    expression.at.clone(),
                    format!("{} dimensions; {ELEMENTS} are possible", sizes.len()),
                ));
            }
            let sizes = sizes.iter().map(|size| self.number(text, size, names));
            return Ok(Shape::List(sizes.collect::<Result<_, _>>()?));
        }
        let (inner, is_reversed) = match &expression.node {
            Node::Reverse(of) => (&**of, true),
            _ => (&expression, false),
        };
        let (of, count) = match &inner.node {
            Node::Slice { of, count } => (&**of, Some(&**count)),
            _ => (inner, None),
        };
        let value = self.locate(text, of, names)?;
        let value = self.through_reference(text, of.at.clone(), value)?;
        let resolved = self.scope.types.resolve(&value.r#type);
        if count.is_none() && !matches!(resolved, Type::Array(..)) {
            return Err(text.error(of.at.clone(), format!("`{resolved}` is no shape")).help(
                "expected `[a, b]`, an array, or the first elements behind a pointer: `sizes[..rank]`",
            ));
        }
        let element = self.element(text, of.at.clone(), &value)?;
        let Type::Integer { bytes: bytes @ (1 | 2 | 4 | 8), signed } = self.scope.types.resolve(&element)
        else {
            return Err(text
                .error(of.at.clone(), format!("sizes of type `{element}`"))
                .help("expected integers"));
        };
        if let (None, Type::Array(_, length @ 9..)) = (count, &resolved) {
            return Err(text.error(of.at.clone(), format!("{length} dimensions; {ELEMENTS} are possible")));
        }
        let mut capacity = self.capacity(&value, ELEMENTS);
        let start = self.elements(text, of.at.clone(), value, element)?;
        let (count_read, count) = match count.map(|count| (count, &count.node)) {
            None => (FIXED, None),
            Some((count, Node::Number(number))) => {
                if *number > capacity.into() {
                    return Err(
                        text.error(count.at.clone(), format!("{number} dimensions; {capacity} are possible"))
                    );
                }
                capacity = *number as u8;
                (FIXED, None)
            }
            Some((count, _)) => {
                let (read, number) = self.count(text, count, names, &start)?;
                (read, Some(number))
            }
        };
        let wanted = Wanted { kind: kind::ARRAY, size: bytes as u8, capacity, count_read, condition: None };
        let purpose = text.value.get(of.at.clone()).unwrap_or_default().to_owned();
        let read = self.fetch(start.phase).read(&start.place, wanted, &purpose);
        let output = read.map_err(|error| self.refused(text, of.at.clone(), error))?;
        Ok(Shape::Elements(Elements {
            phase: start.phase,
            read: output.read,
            at: output.at,
            bytes: bytes as u8,
            signed,
            capacity,
            count,
            is_reversed,
        }))
    }

    fn dtype(&mut self, text: &Text, names: Names<'_>) -> Result<Dtype, SpecError> {
        if let Some(known) = dtype::find(&text.value) {
            return Ok(Dtype::Always(known));
        }
        let expression = Expression::parse(text)?;
        let known = || {
            let names: Vec<&str> = dtype::ALL.iter().map(|dtype| dtype.name).collect();
            format!("{}, or `TABLE[expression]`", crate::probes::source::expected("one of", &names))
        };
        let Some((table, number)) = self.lookup(text, &expression, names)? else {
            return Err(text.error_whole(format!("`{}` is no element type", text.value)).help(known()));
        };
        match table.values().find(|word| dtype::find(word).is_none()) {
            Some(word) => {
                Err(text.error_whole(format!("`{word}` in this table is no element type")).help(known()))
            }
            None => Ok(Dtype::Coded(number, table)),
        }
    }

    /// The windows of a `TensorImpl`.
    fn torch(&mut self, text: &Text, at: Range<usize>, value: &Located) -> Result<Torch, SpecError> {
        let purpose = text.value.get(at.clone()).unwrap_or_default().to_owned();
        let window = |compiler: &mut Self, offset: i32, capacity: u8| {
            let wanted = Wanted { kind: kind::ARRAY, size: 8, capacity, count_read: FIXED, condition: None };
            let place = value.place.member(offset);
            let fetch = compiler.fetch(value.phase);
            place
                .and_then(|place| fetch.read(&place, wanted, &purpose))
                .map(|output| (output.read, output.at))
        };
        let sizes = window(self, torch::SIZES_AT, torch::SIZES_WORDS);
        let sizes = sizes.map_err(|error| self.refused(text, at.clone(), error))?;
        let elements = window(self, torch::ELEMENTS_AT, torch::ELEMENTS_WORDS);
        let elements = elements.map_err(|error| self.refused(text, at, error))?;
        self.torch.push(Window {
            place: value.place.clone(),
            phase: value.phase,
            purpose,
            tensor: self.tensors,
        });
        Ok(Torch { phase: value.phase, sizes, elements, heap: None })
    }

    /// Reads the sizes of tensors of more than five dimensions, as far as there is room: engines seldom have such, and what they
    /// need comes first.
    pub(super) fn read_heaps(&mut self, tensors: &mut [TensorReader]) {
        for window in std::mem::take(&mut self.torch) {
            let before = self.fetch(window.phase).clone();
            let heap = self.heap(&window);
            match (heap, tensors.get_mut(window.tensor)) {
                (Ok(heap), Some(TensorReader { shape: Shape::Torch(torch), .. })) => torch.heap = Some(heap),
                _ => *self.fetch(window.phase) = before,
            }
        }
    }

    fn heap(&mut self, window: &Window) -> Result<[Heap; 2], FetchError> {
        let fetch = self.fetch(window.phase);
        let mut layout = |shift: u8| {
            let at = torch::SIZES_AT + 8 * i32::from(shift);
            let rank = fetch.read(
                &window.place.member(at)?,
                Wanted::scalar(8),
                &format!("{}: rank", window.purpose),
            )?;
            let sizes = fetch.dereference(&window.place.member(at + 8)?, &window.purpose)?;
            let condition = Some((condition::MORE_THAN, rank.read, torch::INLINE as u64));
            let capacity = ELEMENTS as u8;
            let wanted = Wanted { kind: kind::ARRAY, size: 8, capacity, count_read: rank.read, condition };
            let output = fetch.read(
                &sizes,
                wanted,
                &format!("{}: sizes of more than 5 dimensions", window.purpose),
            )?;
            Ok(Heap { read: output.read, at: output.at })
        };
        let [first, second] = torch::LAYOUTS;
        Ok([layout(first)?, layout(second)?])
    }
}

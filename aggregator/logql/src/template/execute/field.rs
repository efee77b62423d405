//! Names behind points: labels, keys of maps, methods of times.

use super::Execution;
use crate::template::function::{Call, Function};
use crate::template::tree::{FieldName, NodeRef, Operand};
use crate::template::value::Value;

/// What stands before a point.
pub(super) struct Receiver<'v> {
    pub(super) value: Value<'v>,
    /// It came out of a list or a map, and its type is that of such places.
    pub(super) is_interface: bool,
}

impl<'v> Execution<'v> {
    /// Follows the names; the last one may be a method with arguments.
    pub(super) fn field_chain(
        &mut self,
        mut receiver: Receiver<'v>,
        operand: &'v Operand,
        fields: &'v [FieldName],
        arguments: &'v [Operand],
        last: Option<Value<'v>>,
        dot: &Value<'v>,
    ) -> Result<Value<'v>, String> {
        let Some((end, inner)) = fields.split_last() else { return Ok(receiver.value) };
        for field in inner {
            let is_interface = !(matches!(receiver.value, Value::Root) && self.template.dialect.is_data_text);
            let value = match super::method::method(&receiver.value, &field.text) {
                Some(method) => self.call_method(receiver.value, method, operand, &[], None, dot)?,
                None => self.field(&receiver, field)?,
            };
            receiver = Receiver { value, is_interface };
        }
        if let Some(method) = super::method::method(&receiver.value, &end.text) {
            return self.call_method(receiver.value, method, operand, arguments, last, dot);
        }
        if (!arguments.is_empty() || last.is_some()) && matches!(receiver.value, Value::Root | Value::Map(_)) {
            return self.error(format!("{} is not a method but has arguments", end.text));
        }
        self.field(&receiver, end)
    }

    fn field(&self, receiver: &Receiver<'v>, field: &'v FieldName) -> Result<Value<'v>, String> {
        let name = &field.text;
        match &receiver.value {
            Value::Nothing => Ok(Value::Nothing),
            Value::Nil => self.error(format!("nil pointer evaluating interface {{}}.{name}")),
            Value::Root => Ok(self.root_value(self.environment.field(field.index))),
            Value::Map(entries) => Ok(entries.get(name).unwrap_or(Value::Nil)),
            value => {
                let type_name = if receiver.is_interface { "interface {}" } else { self.type_name(value) };
                self.error(format!("can't evaluate field {name} in type {type_name}"))
            }
        }
    }

    /// The value of a name of the data, or what stands for a missing one.
    fn root_value(&self, text: Option<&'v [u8]>) -> Value<'v> {
        match text {
            Some(text) => Value::borrowed(text),
            None if self.template.dialect.is_data_text => Value::borrowed(b""),
            None => Value::Nil,
        }
    }

    /// The receiver is the first argument of the function; its parameters are those behind it.
    fn call_method(
        &mut self,
        receiver: Value<'v>,
        method: &'static Function,
        node: &'v Operand,
        operands: &'v [Operand],
        last: Option<Value<'v>>,
        dot: &Value<'v>,
    ) -> Result<Value<'v>, String> {
        let (wanted, given) = (method.parameters.len(), operands.len() + usize::from(last.is_some()));
        if wanted != given {
            return self.error(format!("wrong number of args for {}: want {wanted} got {given}", method.name));
        }
        let start = self.arguments.len();
        self.arguments.push(receiver);
        for (operand, parameter) in operands.iter().zip(method.parameters) {
            let value = self.operand(operand, Some(*parameter), dot)?;
            self.arguments.push(value);
        }
        if let Some(last) = last {
            let value = self.validated(last, method.parameters.last().copied())?;
            self.arguments.push(value);
        }
        let mut call = Call {
            callee: None,
            environment: self.environment,
            data_type: self.template.dialect.data_type(),
            pattern: None,
            arguments: &mut self.arguments[start..],
            budget: &mut self.budget,
        };
        let result = (method.run)(&mut call);
        self.arguments.truncate(start);
        result.or_else(|message| {
            self.node = Some(NodeRef::Operand(node));
            self.error(format!("error calling {}: {message}", method.name))
        })
    }
}

//! Pipelines, commands and their arguments.

use super::field::Receiver;
use super::{DATA, Execution, Variable};
use crate::template::function::{Call, Function, Type};
use crate::template::tree::{Command, NodeRef, Number, Operand, OperandKind, Pipeline};
use crate::template::value::Value;

impl<'v> Execution<'v> {
    pub(super) fn pipeline(&mut self, pipeline: &'v Pipeline, dot: &Value<'v>) -> Result<Value<'v>, String> {
        self.at(NodeRef::Pipeline(pipeline))?;
        self.budget.descend().or_else(|message| self.error(message))?;
        let mut value = None;
        for command in &pipeline.commands {
            let result = self.command(command, dot, value)?;
            // An interface is opened: an empty one holds nothing.
            value = Some(if result == Value::Nil { Value::Nothing } else { result });
        }
        self.budget.ascend();
        let value = value.unwrap_or(Value::Nothing);
        for variable in &pipeline.variables {
            if pipeline.is_assignment {
                self.set_variable(variable, value.clone(), false);
            } else {
                self.variables.push(Variable { name: variable, value: value.clone(), is_interface: false });
            }
        }
        Ok(value)
    }

    /// `last` is what the command before in the pipeline gave.
    fn command(&mut self, command: &'v Command, dot: &Value<'v>, last: Option<Value<'v>>) -> Result<Value<'v>, String> {
        let operand = &command.operands[0];
        let arguments = &command.operands[1..];
        match &operand.kind {
            OperandKind::Function(function) => {
                self.at(NodeRef::Operand(operand))?;
                return self.call(function, NodeRef::Command(command), Some(command), arguments, last, dot);
            }
            OperandKind::Field(fields) => {
                self.at(NodeRef::Operand(operand))?;
                return self.field_chain(self.dot_receiver(dot), operand, fields, arguments, last, dot);
            }
            OperandKind::Chain { inner, fields } => {
                let receiver = self.chain_start(operand, inner, dot)?;
                return self.field_chain(receiver, operand, fields, arguments, last, dot);
            }
            OperandKind::Variable { name, fields } => {
                self.at(NodeRef::Operand(operand))?;
                let receiver = self.variable(name);
                if !fields.is_empty() {
                    return self.field_chain(receiver, operand, fields, arguments, last, dot);
                }
                self.refuse_arguments(operand, arguments, last.as_ref())?;
                return Ok(receiver.value);
            }
            OperandKind::Pipeline(pipeline) => {
                self.refuse_arguments(operand, arguments, last.as_ref())?;
                return self.pipeline(pipeline, dot);
            }
            _ => {}
        }
        self.at(NodeRef::Operand(operand))?;
        self.refuse_arguments(operand, arguments, last.as_ref())?;
        match &operand.kind {
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Number(number) => Ok(constant(number)),
            OperandKind::String { text, .. } => Ok(Value::borrowed(text.as_bytes())),
            _ => self.error("nil is not a command"),
        }
    }

    fn refuse_arguments(&self, operand: &Operand, arguments: &[Operand], last: Option<&Value<'v>>) -> Result<(), String> {
        if arguments.is_empty() && last.is_none() {
            return Ok(());
        }
        self.error(format!("can't give argument to non-function {operand}"))
    }

    fn chain_start(&mut self, operand: &'v Operand, inner: &'v Operand, dot: &Value<'v>) -> Result<Receiver<'v>, String> {
        self.at(NodeRef::Operand(operand))?;
        Ok(Receiver { value: self.operand(inner, None, dot)?, is_interface: false })
    }

    fn dot_receiver(&self, dot: &Value<'v>) -> Receiver<'v> {
        Receiver { value: dot.clone(), is_interface: self.is_dot_interface }
    }

    fn variable(&self, name: &str) -> Receiver<'v> {
        let declared = self.variables.iter().rev().find(|variable| variable.name == name);
        let variable = declared.or_else(|| (name == DATA).then_some(&self.data));
        let nothing = Receiver { value: Value::Nothing, is_interface: false };
        variable.map_or(nothing, |variable| Receiver { value: variable.value.clone(), is_interface: variable.is_interface })
    }

    /// Calls a function. Errors of the call name `node`.
    pub(super) fn call(
        &mut self,
        function: &'static Function,
        node: NodeRef<'v>,
        command: Option<&'v Command>,
        operands: &'v [Operand],
        last: Option<Value<'v>>,
        dot: &Value<'v>,
    ) -> Result<Value<'v>, String> {
        let given = operands.len() + usize::from(last.is_some());
        let fixed = function.parameters.len();
        let name = function.name;
        match function.rest {
            Some(_) if given < fixed => {
                return self.error(format!("wrong number of args for {name}: want at least {fixed} got {}", operands.len()));
            }
            None if given != fixed => return self.error(format!("wrong number of args for {name}: want {fixed} got {given}")),
            _ => {}
        }
        if matches!(name, "and" | "or") {
            return self.short_circuit(name == "or", operands, last, dot);
        }
        let start = self.arguments.len();
        for (index, operand) in operands.iter().enumerate() {
            let argument = self.operand(operand, Some(parameter(function, index)), dot)?;
            self.arguments.push(argument);
        }
        if let Some(last) = last {
            let argument = self.validated(last, Some(parameter(function, given - 1)))?;
            self.arguments.push(argument);
        }
        let mut call = Call {
            callee: operands.first(),
            environment: self.environment,
            data_type: self.template.dialect.data_type(),
            pattern: command.and_then(|command| command.pattern.as_deref()),
            arguments: &mut self.arguments[start..],
            budget: &mut self.budget,
        };
        let result = (function.run)(&mut call);
        self.arguments.truncate(start);
        let result = result.or_else(|message| {
            self.node = Some(node);
            self.error(format!("error calling {name}: {message}"))
        })?;
        if let Value::Text(text) = &result
            && matches!(text, std::borrow::Cow::Owned(_))
        {
            self.charge(text.len())?;
        }
        Ok(result)
    }

    /// `and` and `or` stop at the first argument that decides.
    fn short_circuit(
        &mut self,
        is_or: bool,
        operands: &'v [Operand],
        last: Option<Value<'v>>,
        dot: &Value<'v>,
    ) -> Result<Value<'v>, String> {
        let mut value = Value::Nothing;
        for operand in operands {
            value = self.operand(operand, Some(Type::Value), dot)?;
            if self.is_true(&value) == is_or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// An argument, for a parameter of a type.
    pub(super) fn operand(&mut self, operand: &'v Operand, wanted: Option<Type>, dot: &Value<'v>) -> Result<Value<'v>, String> {
        self.at(NodeRef::Operand(operand))?;
        let value = match &operand.kind {
            OperandKind::Dot => dot.clone(),
            OperandKind::Nil => match wanted {
                Some(Type::Any) => return Ok(Value::Nil),
                Some(Type::Value) => return Ok(Value::Nothing),
                Some(wanted) => return self.error(format!("cannot assign nil to {}", wanted.name())),
                None => return self.error(format!("indirection through explicit nil in {operand}")),
            },
            OperandKind::Field(fields) => self.field_chain(self.dot_receiver(dot), operand, fields, &[], None, dot)?,
            OperandKind::Variable { name, fields } => {
                let receiver = self.variable(name);
                if fields.is_empty() { receiver.value } else { self.field_chain(receiver, operand, fields, &[], None, dot)? }
            }
            OperandKind::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            OperandKind::Function(function) => self.call(function, NodeRef::Operand(operand), None, &[], None, dot)?,
            OperandKind::Chain { inner, fields } => {
                let receiver = self.chain_start(operand, inner, dot)?;
                self.field_chain(receiver, operand, fields, &[], None, dot)?
            }
            OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. } => return self.constant_operand(operand, wanted),
        };
        self.validated(value, wanted)
    }

    /// Constants take the type that is wanted, if they can.
    fn constant_operand(&self, operand: &'v Operand, wanted: Option<Type>) -> Result<Value<'v>, String> {
        let found = |expected: &str| self.error(format!("expected {expected}; found {operand}"));
        match (wanted, &operand.kind) {
            (Some(Type::String), OperandKind::String { text, .. }) => Ok(Value::borrowed(text.as_bytes())),
            (Some(Type::String), _) => found("string"),
            (Some(Type::Int), OperandKind::Number(Number { integer: Some(integer), .. })) => Ok(Value::int(*integer)),
            (Some(Type::Int64), OperandKind::Number(Number { integer: Some(integer), .. })) => {
                Ok(Value::Integer(*integer, crate::template::IntegerType::Int64))
            }
            (Some(Type::Int | Type::Int64), _) => found("integer"),
            (Some(Type::Float64), OperandKind::Number(Number { float: Some(float), .. })) => Ok(Value::Float(*float)),
            (Some(Type::Float64), _) => found("float"),
            (Some(Type::Time), _) => self.error(format!("can't handle {operand} for arg of type time.Time")),
            (_, OperandKind::Bool(value)) => Ok(Value::Bool(*value)),
            (_, OperandKind::Number(number)) => Ok(constant(number)),
            (_, OperandKind::String { text, .. }) => Ok(Value::borrowed(text.as_bytes())),
            (_, _) => Ok(Value::Nothing),
        }
    }

    /// The value, if a parameter of that type takes it.
    pub(super) fn validated(&self, value: Value<'v>, wanted: Option<Type>) -> Result<Value<'v>, String> {
        use crate::template::IntegerType;
        let Some(wanted) = wanted else { return Ok(value) };
        let fits = match (wanted, &value) {
            (Type::Any, Value::Nothing) => return Ok(Value::Nil),
            (Type::Any | Type::Value, _) => true,
            (_, Value::Nothing) => return self.error(format!("invalid value; expected {}", wanted.name())),
            (Type::String, value) => matches!(value, Value::Text(_)),
            (Type::Int, value) => matches!(value, Value::Integer(_, IntegerType::Int)),
            (Type::Int64, value) => matches!(value, Value::Integer(_, IntegerType::Int64)),
            (Type::Float64, value) => matches!(value, Value::Float(_)),
            (Type::Time, value) => matches!(value, Value::Time(_)),
        };
        if fits {
            return Ok(value);
        }
        self.error(format!("wrong type for value; expected {}; got {}", wanted.name(), self.type_name(&value)))
    }
}

fn parameter(function: &Function, index: usize) -> Type {
    function.parameters.get(index).copied().or(function.rest).unwrap_or(Type::Any)
}

fn constant<'v>(number: &Number) -> Value<'v> {
    match (number.integer, number.float) {
        (_, Some(float)) if number.is_written_as_float => Value::Float(float),
        (Some(integer), _) => Value::int(integer),
        (None, float) => Value::Float(float.unwrap_or(0.0)),
    }
}

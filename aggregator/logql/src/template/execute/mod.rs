//! The evaluator: walks the tree and writes.
//!
//! The node under evaluation is remembered, because error texts name it. Recursion follows the tree and the calls of
//! templates; its depth, as everything else, is bounded by the budget.

mod field;
mod method;
mod pipeline;

use super::budget::Budget;
use super::format::print_value;
use super::tree::{List, Node, NodeRef, Pipeline, TemplateCall};
use super::value::{IntegerType, Value};
use super::{Environment, Template};
use crate::literal::go_quote;

/// The variable that is the data at first.
const DATA: &str = "$";

/// `Err` is the whole message.
pub(super) fn execute(template: &Template, environment: &dyn Environment, out: &mut Vec<u8>) -> Result<(), String> {
    let mut execution = Execution {
        template,
        environment,
        budget: Budget::new(),
        name: &template.name,
        node: None,
        variables: Vec::new(),
        data: Variable { name: DATA, value: Value::Root, is_interface: false },
        is_dot_interface: false,
        arguments: Vec::new(),
    };
    execution.list(&template.root, &Value::Root, out).map(|_| ())
}

/// How the walk goes on after a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

#[derive(Clone)]
struct Variable<'v> {
    name: &'v str,
    value: Value<'v>,
    /// Set from a place of a list or a map, whose type errors name instead of the value's.
    is_interface: bool,
}

struct Execution<'v> {
    template: &'v Template,
    environment: &'v dyn Environment,
    budget: Budget,
    /// Of the template that is executed: the outer one or one it defines.
    name: &'v str,
    node: Option<NodeRef<'v>>,
    /// Those that were declared; the last one of a name counts.
    variables: Vec<Variable<'v>>,
    /// `$`, which nothing declares.
    data: Variable<'v>,
    /// The same of `.`.
    is_dot_interface: bool,
    /// Arguments of the calls under way.
    arguments: Vec<Value<'v>>,
}

impl<'v> Execution<'v> {
    fn at(&mut self, node: NodeRef<'v>) -> Result<(), String> {
        self.node = Some(node);
        self.budget.step().or_else(|message| self.error(message))
    }

    fn data_type(&self) -> &'static str {
        self.template.dialect.data_type()
    }

    fn type_name(&self, value: &Value<'_>) -> &'static str {
        value.type_name(self.data_type())
    }

    fn is_true(&self, value: &Value<'_>) -> bool {
        value.is_true(|| self.environment.pairs().is_empty())
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Result<T, String> {
        let Some(node) = self.node else {
            return Err(format!("template: {}: {message}", self.name));
        };
        let before = &self.template.text[..node.position()];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let (outer, name) = (&self.template.name, go_quote(self.name));
        Err(format!("template: {outer}:{line}:{column}: executing {name} at <{node}>: {message}"))
    }

    /// Takes from the budget what was just written.
    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.budget.text(bytes).or_else(|message| self.error(message))
    }

    fn list(&mut self, list: &'v List, dot: &Value<'v>, out: &mut Vec<u8>) -> Result<Flow, String> {
        self.budget.descend().or_else(|message| self.error(message))?;
        for node in &list.nodes {
            let start = out.len();
            let flow = match node {
                Node::Text(text) => {
                    self.budget.step().or_else(|message| self.error(message))?;
                    out.extend_from_slice(text.as_bytes());
                    self.charge(text.len())?;
                    continue;
                }
                Node::Action(pipeline) => {
                    self.action(pipeline, dot, out)?;
                    self.charge(out.len() - start)?;
                    continue;
                }
                Node::Conditional { is_with, branches, otherwise } => self.conditional(*is_with, branches, otherwise.as_ref(), dot, out)?,
                Node::Range { pipeline, body, otherwise } => self.range(pipeline, body, otherwise.as_ref(), dot, out)?,
                Node::Call(call) => {
                    self.call_template(call, dot, out)?;
                    continue;
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                self.budget.ascend();
                return Ok(flow);
            }
        }
        self.budget.ascend();
        Ok(Flow::Next)
    }

    fn action(&mut self, pipeline: &'v Pipeline, dot: &Value<'v>, out: &mut Vec<u8>) -> Result<(), String> {
        let value = self.pipeline(pipeline, dot)?;
        if pipeline.variables.is_empty() {
            self.at(NodeRef::Action(pipeline))?;
            print_value(&value, self.environment, self.data_type(), out);
        }
        Ok(())
    }

    fn conditional(
        &mut self,
        is_with: bool,
        branches: &'v [(Pipeline, List)],
        otherwise: Option<&'v List>,
        dot: &Value<'v>,
        out: &mut Vec<u8>,
    ) -> Result<Flow, String> {
        let outer = self.variables.len();
        let mut flow = None;
        for (pipeline, list) in branches {
            let value = self.pipeline(pipeline, dot)?;
            if self.is_true(&value) {
                flow = Some(if is_with { self.list_with(list, &value, false, out)? } else { self.list(list, dot, out)? });
                break;
            }
        }
        let flow = match (flow, otherwise) {
            (Some(flow), _) => flow,
            (None, Some(list)) => self.list(list, dot, out)?,
            (None, None) => Flow::Next,
        };
        self.variables.truncate(outer);
        Ok(flow)
    }

    /// A list with another `.`.
    fn list_with(&mut self, list: &'v List, dot: &Value<'v>, is_interface: bool, out: &mut Vec<u8>) -> Result<Flow, String> {
        let outer = std::mem::replace(&mut self.is_dot_interface, is_interface);
        let flow = self.list(list, dot, out)?;
        self.is_dot_interface = outer;
        Ok(flow)
    }

    fn range(
        &mut self,
        pipeline: &'v Pipeline,
        body: &'v List,
        otherwise: Option<&'v List>,
        dot: &Value<'v>,
        out: &mut Vec<u8>,
    ) -> Result<Flow, String> {
        let outer = self.variables.len();
        let value = self.pipeline(pipeline, dot)?;
        let has_run = match value {
            Value::List(items) => {
                let items = items.iter().enumerate().map(|(index, item)| (Value::length(index), item.clone()));
                self.iterations(pipeline, body, items, true, out)?
            }
            Value::Map(entries) => {
                let entries = entries.all().into_iter().map(|(key, item)| (Value::text(String::from(key)), item));
                self.iterations(pipeline, body, entries, true, out)?
            }
            Value::Root => {
                let pairs = self.environment.pairs().into_iter();
                let pairs = pairs.map(|(name, text)| (Value::borrowed(name.as_bytes()), Value::borrowed(text)));
                self.iterations(pipeline, body, pairs, !self.template.dialect.is_data_text, out)?
            }
            Value::Integer(_, _) if pipeline.variables.len() > 1 => {
                let mut shown = Vec::new();
                print_value(&value, self.environment, self.data_type(), &mut shown);
                return self.error(format!("can't use {} to iterate over more than one variable", String::from_utf8_lossy(&shown)));
            }
            Value::Integer(count, integer) => {
                let integer = if matches!(integer, IntegerType::Int64) { integer } else { IntegerType::Int };
                let numbers = (0..count).map(|number| (Value::Nothing, Value::Integer(number, integer)));
                self.iterations(pipeline, body, numbers, false, out)?
            }
            Value::Nothing | Value::Nil => false,
            value => {
                let mut shown = Vec::new();
                print_value(&value, self.environment, self.data_type(), &mut shown);
                return self.error(format!("range can't iterate over {}", String::from_utf8_lossy(&shown)));
            }
        };
        self.variables.truncate(outer);
        match otherwise {
            Some(list) if !has_run => self.list(list, dot, out),
            _ => Ok(Flow::Next),
        }
    }

    /// Whether there was any.
    fn iterations(
        &mut self,
        pipeline: &'v Pipeline,
        body: &'v List,
        items: impl Iterator<Item = (Value<'v>, Value<'v>)>,
        is_interface: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, String> {
        let mut has_run = false;
        let inner = self.variables.len();
        for (key, item) in items {
            has_run = true;
            self.budget.step().or_else(|message| self.error(message))?;
            match pipeline.variables.as_slice() {
                [] => {}
                [variable] => self.set_iterated(pipeline, variable, 1, item.clone(), is_interface),
                [first, second, ..] => {
                    self.set_iterated(pipeline, second, 1, item.clone(), is_interface);
                    self.set_iterated(pipeline, first, 2, key, false);
                }
            }
            let flow = self.list_with(body, &item, is_interface, out)?;
            self.variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(has_run)
    }

    /// Declared variables are the last ones; the pipeline put them there.
    fn set_iterated(&mut self, pipeline: &Pipeline, name: &str, from_end: usize, value: Value<'v>, is_interface: bool) {
        if pipeline.is_assignment {
            self.set_variable(name, value, is_interface);
        } else if let Some(index) = self.variables.len().checked_sub(from_end) {
            self.variables[index].value = value;
            self.variables[index].is_interface = is_interface;
        }
    }

    fn set_variable(&mut self, name: &str, value: Value<'v>, is_interface: bool) {
        let declared = self.variables.iter_mut().rev().find(|variable| variable.name == name);
        if let Some(variable) = declared.or_else(|| (name == DATA).then_some(&mut self.data)) {
            variable.value = value;
            variable.is_interface = is_interface;
        }
    }

    fn call_template(&mut self, call: &'v TemplateCall, dot: &Value<'v>, out: &mut Vec<u8>) -> Result<(), String> {
        self.at(NodeRef::Call(call))?;
        let template = self.template;
        let list = match template.definitions.get(&call.name) {
            Some(list) => list,
            None if call.name == template.name => &template.root,
            None => return self.error(format!("template {} not defined", go_quote(&call.name))),
        };
        let value = match &call.pipeline {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nothing,
        };
        self.node = Some(NodeRef::Call(call));
        let name = std::mem::replace(&mut self.name, &call.name);
        let variables = std::mem::take(&mut self.variables);
        let data = std::mem::replace(&mut self.data, Variable { name: DATA, value: value.clone(), is_interface: false });
        self.list_with(list, &value, false, out)?;
        self.variables = variables;
        self.data = data;
        self.name = name;
        Ok(())
    }
}

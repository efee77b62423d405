//! What a template reads, found without executing it.

use std::collections::BTreeSet;

use super::Template;
use super::tree::{Command, List, Node, Operand, OperandKind, Pipeline};

/// Which names of its data a template can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldsRead {
    /// The data as a whole is used, or a name that is not known before.
    All,
    Only(BTreeSet<String>),
}

pub(super) fn fields_read(template: &Template) -> FieldsRead {
    let mut reader = Reader::default();
    reader.list(&template.root, Scope { is_dot_data: true, is_dollar_data: true });
    for definition in template.definitions.values() {
        // What is passed to them is seen where they are called.
        reader.list(definition, Scope { is_dot_data: false, is_dollar_data: false });
    }
    if reader.reads_all { FieldsRead::All } else { FieldsRead::Only(reader.names) }
}

pub(super) fn calls(template: &Template, function: &str) -> bool {
    let mut reader = Reader { function, ..Reader::default() };
    for list in std::iter::once(&template.root).chain(template.definitions.values()) {
        reader.list(list, Scope { is_dot_data: false, is_dollar_data: false });
    }
    reader.calls_function
}

pub(super) fn single_field(template: &Template) -> Option<usize> {
    let [Node::Action(Pipeline { variables, commands, .. })] = template.root.nodes.as_slice() else { return None };
    let ([], [Command { operands, .. }]) = (variables.as_slice(), commands.as_slice()) else { return None };
    match operands.as_slice() {
        [Operand { kind: OperandKind::Field(fields), .. }] if fields.len() == 1 => Some(fields[0].index),
        _ => None,
    }
}

/// Whether `.` and `$` are the data here. Where they are not, they are what was taken out of it or passed on, and
/// that was seen there.
#[derive(Clone, Copy)]
struct Scope {
    is_dot_data: bool,
    is_dollar_data: bool,
}

#[derive(Default)]
struct Reader<'n> {
    names: BTreeSet<String>,
    reads_all: bool,
    function: &'n str,
    calls_function: bool,
}

impl Reader<'_> {
    fn list(&mut self, list: &List, scope: Scope) {
        for node in &list.nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action(pipeline) => self.pipeline(pipeline, scope),
                Node::Conditional { is_with, branches, otherwise } => {
                    for (pipeline, list) in branches {
                        self.pipeline(pipeline, scope);
                        self.list(list, Scope { is_dot_data: scope.is_dot_data && !is_with, ..scope });
                    }
                    self.list_if_any(otherwise.as_ref(), scope);
                }
                Node::Range { pipeline, body, otherwise } => {
                    self.pipeline(pipeline, scope);
                    self.list(body, Scope { is_dot_data: false, ..scope });
                    self.list_if_any(otherwise.as_ref(), scope);
                }
                Node::Call(call) => {
                    if let Some(pipeline) = &call.pipeline {
                        self.pipeline(pipeline, scope);
                    }
                }
            }
        }
    }

    fn list_if_any(&mut self, list: Option<&List>, scope: Scope) {
        if let Some(list) = list {
            self.list(list, scope);
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, scope: Scope) {
        for command in &pipeline.commands {
            let skipped = self.indexed_name(command, scope);
            for operand in &command.operands[skipped..] {
                self.operand(operand, scope);
            }
        }
    }

    /// `index . "name"` reads one name. Returns how many operands are dealt with.
    fn indexed_name(&mut self, command: &Command, scope: Scope) -> usize {
        let [function, data, name, ..] = command.operands.as_slice() else { return 0 };
        let is_index = matches!(&function.kind, OperandKind::Function(function) if function.name == "index");
        let OperandKind::String { text, .. } = &name.kind else { return 0 };
        if !is_index || !is_data(data, scope) {
            return 0;
        }
        self.names.insert(text.to_string());
        self.calls_function |= self.function == "index";
        3
    }

    fn operand(&mut self, operand: &Operand, scope: Scope) {
        if is_data(operand, scope) {
            self.reads_all = true;
        }
        match &operand.kind {
            OperandKind::Field(fields) if scope.is_dot_data => drop(self.names.insert(fields[0].text.to_string())),
            OperandKind::Variable { name, fields } if &**name == "$" && scope.is_dollar_data => {
                self.names.extend(fields.first().map(|field| field.text.to_string()));
            }
            OperandKind::Chain { inner, .. } => self.operand(inner, scope),
            OperandKind::Pipeline(pipeline) => self.pipeline(pipeline, scope),
            OperandKind::Function(function) => self.calls_function |= function.name == self.function,
            _ => {}
        }
    }
}

fn is_data(operand: &Operand, scope: Scope) -> bool {
    match &operand.kind {
        OperandKind::Dot => scope.is_dot_data,
        OperandKind::Variable { name, fields } => &**name == "$" && fields.is_empty() && scope.is_dollar_data,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::template::functions::LOGQL;

    fn read(text: &str) -> String {
        match Template::parse("line", text, &LOGQL).unwrap().fields_read() {
            FieldsRead::All => "all".to_owned(),
            FieldsRead::Only(names) => names.into_iter().collect::<Vec<_>>().join(","),
        }
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        for (text, expected) in [
            ("plain", ""),
            ("{{.a}} {{.b | upper}}", "a,b"),
            ("{{if eq .a (printf \"%s\" .b)}}{{.c}}{{else if .d}}{{.e}}{{else}}{{.f}}{{end}}", "a,b,c,d,e,f"),
            ("{{with .a}}{{.}}{{$.b}}{{else}}{{.c}}{{end}}", "a,b,c"),
            ("{{range fromJson .a}}{{.x}}{{end}}", "a"),
            ("{{index . \"a\"}} {{index $ \"b\"}}", "a,b"),
            ("{{(fromJson .a).k}}", "a"),
            ("{{define \"t\"}}{{.}}{{.x}}{{end}}{{template \"t\" .a}}", "a"),
            ("{{define \"t\"}}{{.x}}{{end}}{{template \"t\" .}}", "all"),
            ("{{.}}", "all"),
            ("{{$x := .}}{{$x.a}}", "all"),
            ("{{with $}}{{.a}}{{end}}", "all"),
            ("{{range $k, $v := .}}{{$k}}{{end}}", "all"),
            ("{{index . .a}}", "all"),
            ("{{__line__}}", ""),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_single_field_is_known() {
        let single = |text| Template::parse("line", text, &LOGQL).unwrap().single_field().is_some();
        assert!(single("{{.a}}") && single("{{ .a }}") && single("{{- .a -}}"));
        assert!(!single("{{.a}} ") && !single("{{.a.b}}") && !single("{{.a | upper}}") && !single("{{$x := .a}}") && !single(""));
    }
}

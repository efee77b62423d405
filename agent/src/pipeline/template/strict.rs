//! Functions of Sprig under the names by which they fail instead of giving nothing. Here a function that cannot do its work always fails its template.

use tailwater_logql::template::{Function, functions};

use super::{lists, maps, more, texts};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("mustRegexFind", texts::FUNCTIONS, "regexFind"),
    strict("mustRegexFindAll", lists::FUNCTIONS, "regexFindAll"),
    strict("mustRegexSplit", lists::FUNCTIONS, "regexSplit"),
    strict("mustRegexReplaceAll", functions::SEARCH, "regexReplaceAll"),
    strict("mustRegexReplaceAllLiteral", functions::SEARCH, "regexReplaceAllLiteral"),
    strict("mustFirst", lists::FUNCTIONS, "first"),
    strict("mustLast", lists::FUNCTIONS, "last"),
    strict("mustRest", lists::FUNCTIONS, "rest"),
    strict("mustInitial", lists::FUNCTIONS, "initial"),
    strict("mustReverse", lists::FUNCTIONS, "reverse"),
    strict("mustCompact", lists::FUNCTIONS, "compact"),
    strict("mustUniq", lists::FUNCTIONS, "uniq"),
    strict("mustHas", lists::FUNCTIONS, "has"),
    strict("mustAppend", more::FUNCTIONS, "append"),
    strict("mustPush", more::FUNCTIONS, "push"),
    strict("mustPrepend", more::FUNCTIONS, "prepend"),
    strict("mustWithout", more::FUNCTIONS, "without"),
    strict("mustChunk", more::FUNCTIONS, "chunk"),
    strict("mustDeepCopy", more::FUNCTIONS, "deepCopy"),
    strict("mustMerge", maps::FUNCTIONS, "merge"),
    strict("mustMergeOverwrite", maps::FUNCTIONS, "mergeOverwrite"),
    strict("mustToRawJson", maps::FUNCTIONS, "toRawJson"),
    strict("mustToPrettyJson", maps::FUNCTIONS, "toPrettyJson"),
];

/// The function `of` of `table` under another name. One that is not there does not compile.
const fn strict(name: &'static str, table: &'static [Function], of: &str) -> Function {
    let mut index = 0;
    while !is_same(table[index].name, of) {
        index += 1;
    }
    let Function { parameters, rest, is_search, run, .. } = table[index];
    Function { name, parameters, rest, is_search, run }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    one.len() == other.len() && index == one.len()
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn strict_names_do_the_same_and_fail_where_the_others_would_give_nothing() {
        for (template, expected) in [
            ("{{ mustRegexReplaceAll \"(b+)\" .v \"<$1>\" }}{{ mustRegexFind \"c\" .v }}", "a<bb>cc"),
            ("{{ mustFirst (mustReverse (list 1 2 3)) }}{{ mustToRawJson (mustAppend (list \"<\") 2) }}", "3[\"<\",2]"),
            ("{{ mustRegexFind \"(\" .v }}", "abbc"),
        ] {
            assert_eq!(result(template, "abbc").as_deref(), Some(expected), "{template}");
        }
    }
}

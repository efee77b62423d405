//! Go's dialect of regular expressions against the translation for Rust: what matches, what is refused and how.

use proptest::prelude::*;
use tailwater_logql::regex_dialect::{Anchoring, ClassNames, compile, translate, translate_with};

/// Pattern, texts found, texts not found.
#[track_caller]
fn finds(pattern: &str, found: &[&str], not_found: &[&str]) {
    finds_with(ClassNames::Exact, pattern, found, not_found);
}

#[track_caller]
fn finds_with(class_names: ClassNames, pattern: &str, found: &[&str], not_found: &[&str]) {
    let translated = translate_with(pattern, class_names).and_then(|translated| translated.compile());
    let regex = translated.unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for text in found {
        assert!(regex.is_match(text.as_bytes()), "`{pattern}` does not find {text:?}");
    }
    for text in not_found {
        assert!(!regex.is_match(text.as_bytes()), "`{pattern}` finds {text:?}");
    }
}

#[track_caller]
fn refused(pattern: &str, reason: &str) {
    let error = translate(pattern).expect_err(pattern);
    assert_eq!(error.to_string(), format!("error parsing regexp: {reason}"), "{pattern}");
}

#[test]
fn perl_classes_and_word_boundaries_are_ascii() {
    finds(r"^\d$", &["7"], &["٣", "a"]);
    finds(r"^\D$", &["٣", "é"], &["7"]);
    finds(r"^\w$", &["a", "_", "9"], &["é", "-"]);
    finds(r"^\W$", &["é"], &["a"]);
    finds(r"^\s$", &[" ", "\t", "\r", "\u{c}"], &["\u{b}", "\u{a0}"]);
    finds(r"^\S$", &["\u{b}", "\u{a0}", "x"], &[" "]);
    finds(r"^[\d\s]+$", &["1 2"], &["a"]);
    finds(r"^[^\d]$", &["٣"], &["1"]);
    finds(r"é\b", &["éa"], &["é"]);
    finds(r"a\B.", &["ab"], &["a "]);
    finds(r"é\B", &["é"], &["éa"]);
}

#[test]
fn angle_brackets_are_literal() {
    finds(r"\<a\>", &["<a>"], &["a"]);
    finds(r"\b{start}", &["a{start}"], &["start"]);
}

#[test]
fn classes_have_no_set_operators() {
    finds("^[a&&b]$", &["a", "&", "b"], &["c"]);
    finds("^[a~~b]$", &["~", "a"], &["c"]);
    finds("^[a[b]]$", &["a]", "[]", "b]"], &["a", "b"]);
    finds("^[[a]$", &["[", "a"], &["b"]);
    finds(r"^[\d-z]$", &["5", "-", "z"], &["a"]);
    finds("^[]a]$", &["]", "a"], &["b"]);
    finds("^[^]a]$", &["b", "\n"], &["]", "a"]);
    finds("^[a-]$", &["a", "-"], &["b"]);
    finds("^[-a]$", &["a", "-"], &["b"]);
    finds("^[a^]$", &["a", "^"], &["b"]);
    finds("^[[:alpha:]_]$", &["a", "_"], &["é", "1"]);
    finds("^[[:^alpha:]]$", &["1", "é"], &["a"]);
    finds("^[[:punct:]]$", &["[", "]", "~", "-", "&"], &["a"]);
    finds(r"^[\]\\\-]$", &["]", "\\", "-"], &["a"]);
}

#[test]
fn escapes_stand_for_code_points() {
    finds(r"^\xFF$", &["ÿ"], &["y"]);
    finds(r"^\x{1F600}$", &["😀"], &[]);
    finds(r"^\0$", &["\0"], &["0"]);
    finds(r"^\012$", &["\n"], &[]);
    finds(r"^\101$", &["A"], &[]);
    finds(r"^\a\f\t\n\r\v$", &["\u{7}\u{c}\t\n\r\u{b}"], &[]);
    finds(r"^\_\-\/\.$", &["_-/."], &["_-/x"]);
    finds(r"^\Qa.b*\E+$", &["a.b*", "a.b**"], &["axb"]);
    finds(r"^\Q[(", &["[("], &[]);
}

#[test]
fn braces_that_do_not_count_are_literal() {
    finds("^a{$", &["a{"], &["a"]);
    finds("^{x}$", &["{x}"], &["x"]);
    finds("^a{,5}$", &["a{,5}"], &["a"]);
    finds("^a{01}$", &["a{01}"], &["a"]);
    finds("^a{2}$", &["aa"], &["a{2}"]);
    finds("^a{2,}$", &["aaa"], &["a"]);
    finds("^a{1,2}?$", &["a", "aa"], &["aaa"]);
}

#[test]
fn flags_unicode_and_anchors_mean_the_same() {
    finds("(?i)^k$", &["k", "K", "\u{212a}"], &["x"]);
    finds("^a(?i)b|c$", &["aB", "C"], &["AB"]);
    finds("(?i:a)b", &["Ab"], &["AB"]);
    finds("a(?i)*b", &["aaB", "b"], &["c"]);
    finds("(?s)a.b", &["a\nb"], &[]);
    finds("a.b", &["aéb"], &["a\nb"]);
    finds("(?m)^b$", &["a\nb"], &[]);
    finds("^b$", &["b"], &["a\nb", "b\n"]);
    finds(r"\Ab\z", &["b"], &["b\n"]);
    finds(r"^\pN\p{Greek}\P{Lu}$", &["1αa"], &["1αA"]);
    finds(r"^\p{^Lu}$", &["a"], &["A"]);
    finds(r"^[\p{Lu}\d]$", &["A", "1"], &["a"]);
    finds(r"^\p{Any}$", &["é", "\n"], &[]);
    finds(r"^\p{C}$", &["\u{7}", "\u{378}"], &["a"]);
    finds("(|a)b", &["b"], &["a"]);
    finds("(?U)^(a+)", &["aa"], &[]);
    finds("()|", &[""], &[]);
    finds("^*a", &["a"], &[]);
    finds("(?)a", &["a"], &[]);
    finds("(?ii)A", &["a"], &[]);
}

#[test]
fn filters_know_classes_by_abbreviations_and_by_names_of_scripts_to_the_letter() {
    finds(r"^\p{Lu}\p{Old_Italic}\p{SignWriting}$", &["A\u{10300}\u{1d800}"], &["a\u{10300}\u{1d800}"]);
    finds(r"^\p{Thai}\p{Han}\p{Nko}[\p{^Meetei_Mayek}]$", &["ก漢\u{7ca}a"], &["漢ก\u{7ca}a"]);
    finds(r"^\p{Cn}\P{LC}\p{Cs}?$", &["\u{378}1"], &["\u{378}a"]);
    for pattern in [
        r"\p{Letter}",
        r"\p{lu}",
        r"\p{greek}",
        r"\p{GREEK}",
        r"\p{OldItalic}",
        r"\p{Old Italic}",
        r"\p{old_italic}",
        r"\pl",
        r"\p{any}",
        r"\p{ASCII}",
        r"\p{Assigned}",
        r"[\P{Uppercase_Letter}]",
        r"\p{Todhri}",
    ] {
        let fragment = pattern.trim_matches(['[', ']']);
        refused(pattern, &format!("invalid character class range: `{fragment}`"));
        assert!(compile(pattern, Anchoring::Matcher).is_err(), "{pattern}");
    }
    assert!(compile(r"\p{Letter}", Anchoring::Full).is_ok(), "`label_replace` knows all names");
}

#[test]
fn the_other_reader_knows_all_names_of_classes() {
    let finds = |pattern: &str, found: &[&str], not_found: &[&str]| finds_with(ClassNames::Loose, pattern, found, not_found);
    finds(r"^\p{Letter}$", &["é", "a"], &["1"]);
    finds(r"^\p{lowercase_letter}$", &["é"], &["É"]);
    finds(r"^\p{Uppercase-Letter}\P{LC}$", &["É1"], &["Éa", "éa"]);
    finds(r"^[\p{digit}\p{punct}]$", &["7", "!", "٣"], &["a", "+"]);
    finds(r"^\p{Decimal Number}\pl\pN$", &["7a7"], &["a7a"]);
    finds(r"^\p{^Letter}$", &["1"], &["a"]);
    finds(r"^\p{greek}\p{GREEK}\p{Old_Italic}$", &["αβ\u{10300}"], &["abα"]);
    finds(r"^\p{olditalic}\p{inscriptional PARTHIAN}\p{khitan-small-script}$", &["\u{10300}\u{10b40}\u{18b00}"], &["abα"]);
    finds(r"^\p{thai}\p{Han}$", &["ก漢"], &["漢ก"]);
    finds(r"^\p{any}\p{ASCII}\P{ascii}$", &["éaé"], &["ééé"]);
    finds(r"^\p{Assigned}$", &["a"], &["\u{378}"]);
    finds(r"^\p{Cn}\p{Unassigned}\p{Other}$", &["\u{378}\u{378}\u{378}"], &["a"]);
    finds(r"^\P{Surrogate}$", &["a"], &[""]);
    for pattern in [r"\p{Grek}", r"\p{Lx}", r"\p{}", r"\p{ }", r"\p{Script=Greek}", r"\p{Alphabetic}", r"\p{Unknown}"] {
        assert!(translate_with(pattern, ClassNames::Loose).is_err(), "{pattern}");
    }
}

#[test]
fn groups_keep_their_order_and_names() {
    let translated = translate(r"(a)(?P<x>b)(?<1x>c)(?:d)(?P<x>e)").expect("well formed");
    let names: Vec<_> = translated.group_names().iter().map(|name| name.as_deref()).collect();
    assert_eq!(names, [None, None, Some("x"), Some("1x"), Some("x")]);
    let regex = translated.compile().expect("small");
    assert_eq!(regex.captures_len(), names.len());
    let captures = regex.captures(b"abcde").expect("matches");
    assert_eq!(captures.get(3).map(|found| found.as_bytes()), Some(&b"c"[..]));
    assert_eq!(captures.get(4).map(|found| found.as_bytes()), Some(&b"e"[..]));
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (pattern, reason) in [
        ("(", "missing closing ): `(`"),
        ("(?P<x>", "missing closing ): `(?P<x>`"),
        ("a(b", "missing closing ): `a(b`"),
        ("a)", "unexpected ): `a)`"),
        ("x[ab", "missing closing ]: `[ab`"),
        ("[]", "missing closing ]: `[]`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("(+)", "missing argument to repetition operator: `+`"),
        ("a|*?b", "missing argument to repetition operator: `*?`"),
        ("{2}", "missing argument to repetition operator: `{2}`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a+*b", "invalid nested repetition operator: `+*`"),
        ("a++", "invalid nested repetition operator: `++`"),
        ("a???", "invalid nested repetition operator: `???`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`"),
        ("(a{100}){100}", "invalid repeat count: `{100}`"),
        ("((a{10}){10}|b){11}", "invalid repeat count: `{11}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?u)a", "invalid or unsupported Perl syntax: `(?u`"),
        ("(?R)", "invalid or unsupported Perl syntax: `(?R`"),
        ("a(?=b)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"\U00000041", r"invalid escape sequence: `\U`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\e", r"invalid escape sequence: `\e`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"\xG", r"invalid escape sequence: `\xG`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"\p{Grek}", r"invalid character class range: `\p{Grek}`"),
        (r"\p{Lx}", r"invalid character class range: `\p{Lx}`"),
        (r"\p{}", r"invalid character class range: `\p{}`"),
        (r"\p{ }", r"invalid character class range: `\p{ }`"),
        (r"\p{Script=Greek}", r"invalid character class range: `\p{Script=Greek}`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        (r"\p{Emoji}", r"invalid character class range: `\p{Emoji}`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{Greek", r"invalid character class range: `\p{Greek`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("(?P<a.b>x)", "invalid named capture: `(?P<a.b>`"),
        ("(?P<é>x)", "invalid named capture: `(?P<é>`"),
        ("(?P<>x)", "invalid named capture: `(?P<>`"),
        ("(?P<x", "invalid named capture: `(?P<x`"),
        (r"a\", "trailing backslash at end of expression: ``"),
    ] {
        refused(pattern, reason);
    }
}

#[test]
fn repetitions_that_multiply_to_no_more_than_a_thousand_are_fine() {
    for pattern in ["a{1000}", "(a{10}){100}", "(a{1000}){0}", "(a{1000}){1}", "(a{500}|b)(c{500}){2}"] {
        assert!(compile(pattern, Anchoring::Search).is_ok(), "{pattern}");
    }
}

#[test]
fn huge_and_deep_patterns_are_errors() {
    let large = compile(r"(\pL{1000})(\pL{1000})(\pL{1000})", Anchoring::Search).expect_err("too large");
    assert!(large.to_string().starts_with("error parsing regexp: expression too large: `"), "{large}");
    let deep = "(".repeat(2_000) + "a" + &")".repeat(2_000);
    let error = translate(&deep).expect_err("too deep");
    assert!(error.to_string().starts_with("error parsing regexp: expression nests too deeply: `"));
    let bearable = "(|b".repeat(50) + "a" + &")+".repeat(50);
    assert!(compile(&bearable, Anchoring::Matcher).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever Go's rules let through is a pattern for Rust too, with the same groups.
    #[test]
    fn every_translation_compiles(pattern in r"([abé.^$*+?|()\[\]{},0-9-]|\\[dDwWsSbBAzpnQEx]|\(\?[imsU]*[:)]|\(\?P<[a-c1]>|\[\[:alpha:\]\]|[&~<>:-]){0,12}") {
        if let Ok(translated) = translate(&pattern) {
            let regex = translated.compile();
            prop_assert!(regex.is_ok(), "{} became {}", pattern, translated.pattern());
            prop_assert_eq!(regex.expect("just seen").captures_len(), translated.group_names().len());
        }
    }

    #[test]
    fn translation_never_panics(pattern in any::<String>()) {
        drop(translate(&pattern));
    }

    /// Literal text matches itself.
    #[test]
    fn quoted_text_finds_itself(text in "[^\\\\]{0,20}") {
        let regex = compile(&format!(r"\Q{text}\E"), Anchoring::Matcher).expect("literal");
        prop_assert!(regex.is_match(text.as_bytes()));
    }
}

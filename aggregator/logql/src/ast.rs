//! The syntax tree of LogQL.
//!
//! A tree made by the parser is valid: selectors hold a matcher that cannot match the empty string, groupings and
//! parameters stand only where the language allows them, constant arithmetic is folded. Durations are
//! nanoseconds, sizes bytes. Label names are as written; strings are unquoted.

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Log(LogExpr),
    Metric(MetricExpr),
}

/// `{app="a"} |= "x" | json`: selects streams and transforms their entries.
#[derive(Debug, Clone, PartialEq)]
pub struct LogExpr {
    pub selector: Selector,
    pub stages: Vec<Stage>,
}

/// Matchers of stream labels, all of which must hold. May be empty only where an endpoint allows `{}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    pub matchers: Vec<Matcher>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchOp {
    Equal,
    NotEqual,
    /// Fully anchored.
    Regex,
    NotRegex,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    LineFilter(LineFilter),
    /// `| json`, or `| json a="path"` when extractions are given.
    Json {
        extractions: Vec<Extraction>,
    },
    Logfmt {
        strict: bool,
        keep_empty: bool,
        extractions: Vec<Extraction>,
    },
    Regexp {
        pattern: String,
    },
    Pattern {
        pattern: String,
    },
    Unpack,
    LabelFilter(LabelFilter),
    LineFormat {
        template: String,
    },
    LabelFormat {
        formats: Vec<LabelFormat>,
    },
    Decolorize,
    Drop {
        targets: Vec<NameOrMatcher>,
    },
    Keep {
        targets: Vec<NameOrMatcher>,
    },
}

/// `|= "a" or "b"`: an operator and its alternatives, in order, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct LineFilter {
    pub op: LineFilterOp,
    pub alternatives: Vec<LineFilterArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFilterOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LineFilterArg {
    Text(String),
    /// `ip("10.0.0.0/8")`
    Ip(String),
}

/// `name="path"`; a bare `name` has the path `name`.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    pub name: String,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LabelFilter {
    String(Matcher),
    Compare { name: String, op: CompareOp, value: FilterValue },
    Ip { name: String, negated: bool, pattern: String },
    And { left: Box<LabelFilter>, right: Box<LabelFilter> },
    Or { left: Box<LabelFilter>, right: Box<LabelFilter> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FilterValue {
    Number(f64),
    /// Nanoseconds.
    Duration(i64),
    Bytes(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LabelFormat {
    pub target: String,
    pub source: LabelFormatSource,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LabelFormatSource {
    /// `target=source`: rename.
    Label(String),
    /// `target="{{.x}}"`
    Template(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum NameOrMatcher {
    Name(String),
    Matcher(Matcher),
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetricExpr {
    Range(RangeAggregation),
    Vector(VectorAggregation),
    Binary(BinaryOperation),
    Literal(f64),
    /// `vector(n)`
    VectorLiteral(f64),
    LabelReplace(LabelReplace),
    Variants {
        metrics: Vec<MetricExpr>,
        of: LogRange,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct RangeAggregation {
    pub op: RangeOp,
    /// Only of `quantile_over_time`.
    pub parameter: Option<f64>,
    pub range: LogRange,
    pub grouping: Option<Grouping>,
}

/// Entries of `(t - range - offset, t - offset]` for each step time t.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRange {
    pub log: LogExpr,
    pub unwrap: Option<Unwrap>,
    /// Nanoseconds, >= 0.
    pub range: i64,
    /// Nanoseconds, may be negative.
    pub offset: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Unwrap {
    pub label: String,
    pub conversion: Option<Conversion>,
    pub post_filters: Vec<LabelFilter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    Bytes,
    Duration,
    DurationSeconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RangeOp {
    Rate,
    RateCounter,
    CountOverTime,
    BytesRate,
    BytesOverTime,
    SumOverTime,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    StdvarOverTime,
    StddevOverTime,
    QuantileOverTime,
    FirstOverTime,
    LastOverTime,
    AbsentOverTime,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorAggregation {
    pub op: VectorOp,
    /// Only of `topk`, `bottomk`, `approx_topk`.
    pub parameter: Option<i64>,
    pub inner: Box<MetricExpr>,
    /// `None` where the text has none, or `by ()`, which means the same.
    pub grouping: Option<Grouping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VectorOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// `without` instead of `by`.
    pub without: bool,
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BinaryOperation {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub matching: Option<VectorMatching>,
    pub left: Box<MetricExpr>,
    pub right: Box<MetricExpr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorMatching {
    /// `on` instead of `ignoring`.
    pub on: bool,
    pub labels: Vec<String>,
    pub group: Option<GroupSide>,
}

/// `group_left(include)` or `group_right(include)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupSide {
    Left { include: Vec<String> },
    Right { include: Vec<String> },
}

#[derive(Debug, Clone, PartialEq)]
pub struct LabelReplace {
    pub inner: Box<MetricExpr>,
    pub destination: String,
    pub replacement: String,
    pub source: String,
    pub regex: String,
}

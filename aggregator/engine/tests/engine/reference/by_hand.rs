//! Queries and entries written by hand, of kinds that the random ones do not come upon: chains of renamings, conversions that fail, groups
//! with labels taken over, ends of windows, ties, replacements that make or take labels, errors that are asked for.

use tailwater_engine::QueryError;
use tailwater_engine::request::Direction;

use super::data::{Data, SECOND};
use super::{Steps, difference, engine, log_query, logs, metric_query, plain_logs, plain_points, points, run};

fn data() -> Data {
    Data::by_hand(&[
        (0, 100, r#"{"req":{"id":"r1","path":"/a","took":"120ms","bytes":"2KB"},"n":1,"tags":["x","y"],"ok":true}"#, 0),
        (0, 105, r#"{"req":{"id":"r2","path":"/b","took":"1.5s","bytes":"1MiB"},"n":2,"level":"error"}"#, 2),
        (0, 110, r#"{"req":{"id":"r3","took":"soon"},"n":"three","level":null}"#, 3),
        (0, 115, r#"{"n":4,"n":5,"a_b":"flat","a":{"b":"nested"}}"#, 0),
        (0, 120, r#"{"n":4.5,"level":"info","a":"1"}"#, 4),
        (0, 125, r#"{"n":-3,"a":"2","bro"#, 0),
        (0, 130, r#"{"n":"NaN","a":""}"#, 5),
        (0, 135, "no json at all", 0),
        (0, 140, "", 0),
        (0, 145, r#"{"_entry":"inner a=9 foo","a":"packed","n":"7","x":3}"#, 0),
        (0, 150, r#"{"n":1e2,"d":"1h2m3s","size":"3 KB"}"#, 2),
        (1, 101, "a=1 b=2 n=10 d=12ms size=2KB msg=\"hello there\"", 0),
        (1, 106, "a=2 b= n=20 d=1m30s size=1.5MiB msg=\"quo\\\"te\"", 2),
        (1, 111, "a=1 a=3 n=x d=later size=big", 3),
        (1, 116, "n=5 bare words and =v broken b=1=2 a=4", 0),
        (1, 121, "app=other env=dev level=warn n=6", 5),
        (1, 126, "app=other n=7 a=1", 4),
        (1, 131, "n=0 d=0s size=0", 0),
        (1, 136, "n=-1 d=-5s size=1", 0),
        (2, 102, "GET /api/users/17 200 12ms from 10.0.0.7", 0),
        (2, 107, "GET /api/users/18 404 3ms from 10.0.1.7:8080", 0),
        (2, 112, "POST /api/orders 500 1.5s from 192.168.0.9,", 2),
        (2, 117, "PUT /static/x 301 40ms from 10.0.0.7", 0),
        (2, 122, "GET  200", 0),
        (2, 127, "foo", 0),
        (2, 132, "foofoo", 0),
        (2, 137, "bar foo bar", 3),
        (3, 103, "\u{1b}[31mred\u{1b}[0m n=1 a=1", 0),
        (3, 108, "two\nlines n=2", 0),
        (3, 113, "n=3 a=stream trace_id=own", 2),
        (3, 118, "n=4 a_extracted=first a=second", 3),
        (3, 123, "n=4 é=ü k-1=dash 9x=digit", 0),
        (4, 104, "10.0.0.7 n=8", 0),
        (4, 109, "10.0.0.300 n=9", 0),
        (4, 114, "at 10.0.0.7. n=8", 0),
        (4, 119, "v10.0.0.8x n=8 a=1", 0),
        (4, 124, "n=8 a=2", 5),
        (4, 129, "n=9 a=2", 0),
    ])
}

/// Log queries: what they show is compared whole.
const LOGS: &[&str] = &[
    // Renamings in chains; later ones of a stage see what earlier ones did, templates what was there before the first of them.
    "{app=\"x\"} | logfmt | label_format one=a | label_format two=one | label_format three=two",
    "{app=\"x\"} | logfmt | label_format one=a, two=one, three=two",
    "{app=\"x\"} | logfmt | label_format a=b, b=a",
    "{app=\"x\"} | logfmt | label_format a=b, c=`{{.a}}`, d=`{{.b}}`",
    "{app=\"x\"} | logfmt | label_format c=`{{.a}}-{{.b}}`, a=`{{.c}}`, e=c",
    "{app=\"x\"} | logfmt | label_format env=a, app=env",
    "{app=\"x\"} | logfmt | label_format env=nope, app=nope | app=\"x\"",
    "{app=\"x\"} | logfmt | label_format old=env | env=\"\"",
    "{app=\"x\"} | logfmt | label_format trace_id=a | trace_id!=\"\"",
    "{app=\"x\"} | label_format t=trace_id | t!=\"\" | trace_id=\"\"",
    "{app=\"x\"} | json | label_format a=n | json | a=\"1\"",
    "{app=\"x\"} | logfmt | label_format n=`` | n=\"\"",
    "{app=\"x\"} | logfmt | label_format n=`` | logfmt",
    "{app=\"x\"} | logfmt | label_format level=`{{.level}}!` | level=~\".+!\"",
    // Lines of labels that are not there.
    "{app=\"x\"} | logfmt | line_format `{{.nope}}`",
    "{app=\"x\"} | logfmt | line_format `{{.nope}}` |= ``",
    "{app=\"x\"} | logfmt | line_format `{{.nope}}` != ``",
    "{app=\"x\"} | logfmt | line_format `<{{.a}}|{{.b}}|{{.n}}>` |~ `^<1`",
    "{app=\"x\"} | logfmt | line_format `n={{.n}} m={{.n}}` | logfmt m | m!=\"\"",
    "{app=\"x\"} | logfmt | line_format \"{{.n | default `none`}}\" |= `none`",
    "{app=\"x\"} | line_format `{{.env}}` | line_format `{{__line__}}{{__line__}}` |= `pp`",
    "{app=\"x\"} | json | line_format \"{{if eq .level `error`}}E{{else}}-{{end}} {{.n}}\"",
    "{app=\"x\"} | logfmt | line_format `{{.msg | ToUpper | trunc 5}}` |= `HELLO`",
    "{app=\"x\"} | json | line_format \"{{.req_path | trimPrefix `/`}}\" | label_format p=`{{__line__}}` | p=~`[ab]`",
    // Paths.
    "{app=\"x\"} | json id=`req.id`, path=`req[\"path\"]` | id!=\"\"",
    "{app=\"x\"} | json req=`req`, tags=`tags` | req!=\"\"",
    "{app=\"x\"} | json app=`n`, trace_id=`a`, level=`level`",
    "{app=\"x\"} | json a=`a.b`, n",
    "{app=\"x\"} | json nope=`nope` | nope=\"\"",
    "{app=\"x\"} | json | json n=`req.id`",
    "{app=\"x\"} | json n=`req.id` | json",
    // Flattening, repeats, clashes.
    "{app=\"x\"} | json | a_b!=\"\"",
    "{app=\"x\"} | json | req_took!=\"\" | keep req_took, n",
    "{app=\"x\"} | json | level_extracted=\"error\"",
    "{app=\"x\"} | json | n_extracted!=\"\"",
    "{app=\"x\"} | json | __error__!=\"\" | keep n",
    "{app=\"x\"} | json | drop __error__",
    "{app=\"x\"} | json | drop __error_details__ | __error__=\"JSONParserErr\"",
    "{app=\"y\"} | logfmt | a_extracted!=\"\"",
    "{app=\"y\"} | logfmt | trace_id_extracted=\"own\"",
    "{app=\"y\"} | logfmt | logfmt | logfmt",
    "{app=\"x\"} | logfmt --strict",
    "{app=\"x\"} | logfmt --keep-empty | b=\"\"",
    "{app=\"x\"} | logfmt --strict --keep-empty | __error__=\"\"",
    "{app=\"x\"} | logfmt one=`a`, two=`a`, a",
    "{app=\"x\"} | logfmt level=`n`, env=`a`",
    "{app=\"x\"} | logfmt --strict a, n | __error__=~\".+\"",
    // unpack
    "{app=\"x\"} | unpack",
    "{app=\"x\"} | unpack | logfmt | a=\"9\" or a=\"packed\"",
    "{app=\"x\"} | unpack |= `inner`",
    "{app=\"x\"} | unpack | unpack | __error__=\"JSONParserErr\"",
    "{app=\"x\"} | unpack | json | n=\"7\"",
    // pattern and |>
    "{app=\"y\"} | pattern `<verb> <path> <code> <took> from <ip>`",
    "{app=\"y\"} | pattern `<verb> <_>/<rest>` | verb!=\"\"",
    "{app=\"y\"} | pattern `GET <path> <_>` | path!=\"\"",
    "{app=\"y\"} | pattern `<a> <env> <_>` | env_extracted!=\"\"",
    "{app=\"y\"} | pattern `<_> from <ip>` | ip=~`10.*`",
    "{app=\"y\"} | pattern `<x>foo<y>`",
    "{app=\"y\"} |> `foo`",
    "{app=\"y\"} |> `<_>foo`",
    "{app=\"y\"} |> `foo<_>`",
    "{app=\"y\"} |> `<_>foo<_>`",
    "{app=\"y\"} !> `<_>foo<_>`",
    "{app=\"y\"} |> `GET <_> 200` or `<_>500<_>`",
    "{app=\"y\"} !> `GET <_>` or `<_>from<_>`",
    "{app=\"y\"} |> `<_>`",
    "{app=\"x\"} |> ``",
    "{app=\"x\"} !> ``",
    // Line filters with alternatives, lines of two lines, empty ones.
    "{app=~\".+\"} |= `foo` or `GET` != `bar`",
    "{app=~\".+\"} != `foo` or `n=` or `{`",
    "{app=~\".+\"} |~ `^two` or `lines$`",
    "{app=~\".+\"} |~ `two.lines`",
    "{app=~\".+\"} |~ `(?s)two.lines`",
    "{app=~\".+\"} |~ `(?m)^lines`",
    "{app=~\".+\"} !~ `.+`",
    "{app=~\".+\"} |~ ``",
    "{app=~\".+\"} !~ ``",
    "{app=~\".+\"} | decolorize |~ `^red`",
    "{app=~\".+\"} | decolorize | logfmt | red!=\"\" or a=\"1\"",
    // Addresses.
    "{app=~\".+\"} |= ip(`10.0.0.7`)",
    "{app=~\".+\"} != ip(`10.0.0.0/16`)",
    "{app=~\".+\"} |= ip(`10.0.0.7-10.0.1.9`)",
    "{app=~\".+\"} |= ip(`192.168.0.0/24`)",
    "{app=\"y\"} | pattern `<_> from <ip>` | ip=ip(`10.0.0.0/24`)",
    "{app=\"y\"} | pattern `<_> from <ip>` | ip!=ip(`10.0.0.0/24`)",
    "{app=\"y\"} | nope=ip(`10.0.0.0/8`) or nope!=ip(`10.0.0.0/8`)",
    // Comparisons, with what they cannot convert.
    "{app=\"x\"} | logfmt | n>=10",
    "{app=\"x\"} | logfmt | n!=10",
    "{app=\"x\"} | logfmt | n>5 and n<20 | __error__=\"\"",
    "{app=\"x\"} | logfmt | n>5 or d>1s or size>1KB",
    "{app=\"x\"} | logfmt | d>=12ms",
    "{app=\"x\"} | logfmt | d<0s",
    "{app=\"x\"} | logfmt | size>=1KB | __error__=\"\"",
    "{app=\"x\"} | logfmt | size=1",
    "{app=\"x\"} | logfmt | n>1 , d>1ms or size>1B",
    "{app=\"x\"} | logfmt | n>1 d>1ms , a=\"1\"",
    "{app=\"x\"} | logfmt | nope>1 or nope!=1",
    "{app=\"x\"} | json | n>1 | n<100",
    "{app=\"x\"} | json | (n>1 or level=\"error\") and (a!=\"1\" or trace_id=\"t1\")",
    // keep and drop by value.
    "{app=\"x\"} | logfmt | keep a=\"1\", n=~\"[0-9]\", env",
    "{app=\"x\"} | logfmt | drop a=\"1\", env!=\"p\", nope=\"\"",
    "{app=\"x\"} | logfmt | drop app, env, level | keep n",
    "{app=\"x\"} | keep trace_id | drop trace_id=\"t1\"",
    "{app=\"x\"} | logfmt --strict | keep a | __error__!=\"\"",
    "{app=\"x\"} | logfmt | keep nope",
    "{app=\"x\"} | regexp `n=(?P<n>\\d+)` | n>5",
    "{app=\"x\"} | regexp `(?P<first>\\w)(?P<second>z)?` | second=\"\"",
];

/// Metric queries, at several steps each.
const METRICS: &[&str] = &[
    // Everything but some labels.
    "count without (n) (count_over_time({app=~\"x|y\"} | logfmt | __error__=`` [20s]))",
    "count without (env, level) (count_over_time({app=~\"x|y\"}[30s]))",
    "count without () (count_over_time({app=~\"x|y\"}[30s]))",
    "count without (app, env, level, a, namespace, trace_id, n) (rate({app=~\".+\"}[40s]))",
    "stddev_over_time({app=~\".+\"} | logfmt | unwrap n | __error__=`` [40s]) without (a, b, d, size, msg)",
    "stdvar_over_time({app=~\".+\"} | logfmt | unwrap n | __error__=`` [40s]) without (a)",
    "stddev_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]) without (env)",
    "stddev_over_time({app=~\".+\"} | logfmt | unwrap n | __error__=`` [1m]) without ()",
    "stddev_over_time({app=~\".+\"} | logfmt | unwrap n | __error__=`` [1m]) by ()",
    "avg_over_time({app=~\".+\"} | logfmt | keep n, app | unwrap n | __error__=`` [1m]) without (app)",
    "min_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]) without (app, nope)",
    "max_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]) without (env)",
    "first_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]) without (env)",
    "last_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]) without (app)",
    "quantile_over_time(0.75, {app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]) without (env)",
    "sum without (n) (sum_over_time({app=~\".+\"} | logfmt | keep n, a, app | unwrap n | __error__=`` [1m]))",
    "avg without (a) (sum_over_time({app=~\".+\"} | logfmt | keep n, a, app | unwrap n | __error__=`` [1m]))",
    "stdvar without (a) (max_over_time({app=~\".+\"} | logfmt | keep n, a, app | unwrap n | __error__=`` [1m]))",
    "topk without (env) (1, count_over_time({app=~\".+\"}[30s]))",
    // Conversions, and what fails of them.
    "sum(sum_over_time({app=\"x\"} | logfmt | unwrap duration(d) | __error__=`` [1m]))",
    "sum by (app) (sum_over_time({app=\"x\"} | logfmt | unwrap duration_seconds(d) | __error__=`` | d!=`` [1m]))",
    "sum(sum_over_time({app=\"x\"} | logfmt | unwrap bytes(size) | __error__=`` [1m]))",
    "sum_over_time({app=\"x\"} | logfmt | unwrap d [1m])",
    "sum_over_time({app=\"x\"} | logfmt | unwrap duration(n) | __error__=`` [1m])",
    "count(sum_over_time({app=\"x\"} | logfmt | unwrap n | __error__=`SampleExtractionErr` [1m]))",
    "sum by (__error__) (sum_over_time({app=\"x\"} | logfmt | unwrap n [1m]))",
    "sum by (__error__) (count_over_time({app=\"x\"} | json [1m]))",
    "sum by (app, __error__) (count_over_time({app=\"x\"} | logfmt --strict [1m]))",
    "sum(count_over_time({app=\"x\"} | json [1m]))",
    "sum by (n) (count_over_time({app=\"x\"} | json [1m]))",
    "sum by (n) (count_over_time({app=\"x\"} | json | __error__=`` [1m]))",
    "sum by (n) (count_over_time({app=\"x\"} | json | __error__!=`JSONParserErr` [1m]))",
    "count_over_time({app=\"x\"} | json | drop __error__, __error_details__ [1m])",
    "sum by (a_extracted) (count_over_time({app=~\"x|y\"} | logfmt [1m]))",
    "sum by (env_extracted, n_extracted) (count_over_time({app=~\"x|y\"} | logfmt [1m]))",
    "max by (app) (max_over_time({app=~\".+\"} | logfmt | label_format v=n | unwrap v | __error__=`` [1m]))",
    "sum by (v) (count_over_time({app=~\".+\"} | logfmt | label_format v=n, w=v [1m]))",
    "sum by (w) (count_over_time({app=~\".+\"} | logfmt | label_format v=n, w=`{{.v}}{{.n}}` [1m]))",
    "sum by (env) (count_over_time({app=~\".+\"} | logfmt | label_format env=a [1m]))",
    "sum by (env, a) (count_over_time({app=~\".+\"} | logfmt | drop env | keep a, env [1m]))",
    "sum by (level) (bytes_over_time({app=\"x\"} | json | line_format `{{.level}}` [1m]))",
    "bytes_rate({app=\"x\"} | unpack | line_format `{{__line__}}{{__line__}}` [1m])",
    "sum(count_over_time({app=\"x\"} | json | line_format `{{.n}}` |= `4` [1m]))",
    // Ends of windows, offsets both ways.
    "count_over_time({app=\"x\"}[5s])",
    "count_over_time({app=\"x\"}[5s] offset 5s)",
    "count_over_time({app=\"x\"}[5s] offset -5s)",
    "count_over_time({app=\"x\"} | logfmt | n>5 | __error__=`` [10s] offset -7s)",
    "sum(count_over_time({app=~\".+\"}[10s])) - sum(count_over_time({app=~\".+\"}[10s] offset 10s))",
    "sum(count_over_time({app=~\".+\"}[1s])) or vector(0)",
    "sum(rate({app=~\".+\"}[7s] offset 3s)) / sum(rate({app=~\".+\"}[7s] offset -3s))",
    "absent_over_time({app=\"x\", env=\"none\"}[10s])",
    "absent_over_time({app=\"x\"} |= `soon` [3s])",
    "absent_over_time({app=\"x\", app=~\"x|y\"} |= `nothing` [10s])",
    "absent_over_time({app=~\"x|y\", app=\"x\", env=\"p\"} |= `nothing` [10s])",
    "absent_over_time({env=\"p\", app=\"x\", level!=\"\"} | json | n>1000 | __error__=`` [10s])",
    "absent_over_time({app=\"x\"} | logfmt | unwrap n | __error__=`` [2s])",
    "rate_counter({app=~\"x|z\"} | logfmt | keep n, app | unwrap n | __error__=`` [1m])",
    // Ties, from either end, by groups.
    "topk(1, count_over_time({app=~\".+\"}[20s]))",
    "topk(2, sum by (app) (count_over_time({app=~\".+\"}[20s])))",
    "bottomk(2, sum by (app) (count_over_time({app=~\".+\"}[20s])))",
    "bottomk by (app) (1, count_over_time({app=~\".+\"}[20s]))",
    "topk by (app) (1, max_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m]))",
    "topk(3, max_over_time({app=~\".+\"} | logfmt | unwrap n | __error__=`` [1m]) % 0)",
    "topk(100, count_over_time({app=~\".+\"}[20s]))",
    "approx_topk(2, sum by (app) (count_over_time({app=~\".+\"}[20s])))",
    "approx_topk(1, sum by (a) (count_over_time({app=~\".+\"} | logfmt [1m])))",
    "sort(sum by (app) (count_over_time({app=~\".+\"}[20s])))",
    "sort_desc(topk(2, sum by (app) (count_over_time({app=~\".+\"}[20s]))))",
    "topk(1, topk(2, count_over_time({app=~\".+\"}[20s])))",
    "sum(topk(2, count_over_time({app=~\".+\"}[20s])))",
    // Matching.
    "count_over_time({app=\"x\"}[20s]) / ignoring (level) count_over_time({app=\"x\"}[20s])",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) / on (app) group_left sum by (app) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) / on (app) group_left (env) sum by (app, env) (count_over_time({env=\"p\"}[20s]))",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) * on (app) group_left (level, nope) max by (app, level) (count_over_time({level=\"info\"}[40s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) - ignoring (env) group_right sum by (app, env) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({env=\"p\"}[20s])) - ignoring (env) group_right (a) sum by (app, env) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) + on (app) sum by (app, env) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) + on (app) group_left sum by (app, env) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) > on (app) sum by (app) (count_over_time({env=\"p\"}[20s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) > bool on (app) sum by (app) (count_over_time({env=\"p\"}[20s]))",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) >= ignoring (env) group_left sum by (app) (count_over_time({env=\"p\"}[20s]))",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) == bool ignoring (env) group_left sum by (app) (count_over_time({env=\"p\"}[20s]))",
    "sum(count_over_time({app=\"x\"}[20s])) + on () vector(1)",
    "vector(3) > bool sum(count_over_time({app=\"x\"}[20s]))",
    "vector(3) unless sum(count_over_time({app=\"none\"}[20s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) and on (app) sum by (app) (count_over_time({env=\"q\"}[20s]))",
    "sum by (app, env) (count_over_time({app=~\".+\"}[20s])) unless ignoring (env) sum by (app) (count_over_time({env=\"q\"}[5s]))",
    "sum by (app) (count_over_time({env=\"q\"}[20s])) or on (app) sum by (app, env) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({env=\"q\"}[5s])) or ignoring (env) sum by (app, env) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({app=\"none\"}[5s])) or sum by (app) (count_over_time({app=\"x\"}[5s]))",
    "sum by (app) (count_over_time({app=\"x\"}[5s])) and sum by (app) (count_over_time({app=\"none\"}[5s]))",
    // Scalars on either side.
    "2 ^ sum by (app) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) ^ 2 ^ 0.5",
    "10 % sum by (app) (count_over_time({app=~\".+\"}[20s]))",
    "7 / (sum by (app) (count_over_time({app=~\".+\"}[20s])) - 2)",
    "-1 * sum by (app) (count_over_time({app=~\".+\"}[20s])) % 2",
    "3 > sum by (app) (count_over_time({app=~\".+\"}[20s]))",
    "3 <= bool sum by (app) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) != 3 or vector(1)",
    "(sum(count_over_time({app=\"x\"}[20s])) > 1) + (sum(count_over_time({app=\"y\"}[20s])) > 1)",
    "1 + 2 * 3 - sum(count_over_time({app=\"x\"}[20s])) * -2",
    // label_replace.
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"$2-$1\", \"app\", \"(.)(.*)\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"${name}!\", \"env\", \"(?P<name>[pq])\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"$1x\", \"env\", \"(p)\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"${1}x\", \"env\", \"(p)\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"fixed\", \"nope\", \"\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"fixed\", \"nope\", \".+\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"env\", \"\", \"env\", \"p\")",
    "label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"app\", \"$0\", \"env\", \".*\")",
    "sum by (to) (label_replace(sum by (app, env) (count_over_time({app=~\".+\"}[20s])), \"to\", \"$1\", \"env\", \"(.*)\"))",
    "label_replace(label_replace(sum by (app) (count_over_time({app=~\".+\"}[20s])), \"a\", \"$1\", \"app\", \"(.*)\"), \"b\", \"$1$1\", \"a\", \"(.*)\")",
    "sum by (app) (count_over_time({app=~\".+\"}[20s])) * on (app) label_replace(sum by (app) (count_over_time({app=~\".+\"}[20s])), \"x\", \"y\", \"\", \"\")",
    // Parentheses and places of the range.
    "sum(count_over_time(({app=\"x\"} |= `n`)[20s]))",
    "sum(count_over_time({app=\"x\"}[20s] |= `n`))",
    "sum(count_over_time({app=\"x\"}[20s] offset 5s |= `n`))",
    "sum(sum_over_time(({app=\"x\"} | logfmt | unwrap n | __error__=``)[20s] offset 5s))",
    "((sum((count_over_time({app=\"x\"}[20s])))))",
    // Several aggregations of each other.
    "max(sum by (app) (count_over_time({app=~\".+\"}[20s])))",
    "min by (env) (sum by (app, env) (count_over_time({app=~\".+\"}[20s])))",
    "avg(avg by (app) (max_over_time({app=~\".+\"} | logfmt | keep n, app, env | unwrap n | __error__=`` [1m])))",
    "stddev(sum by (app) (count_over_time({app=~\".+\"}[20s])))",
    "stdvar by (app) (count_over_time({app=~\".+\"}[20s]))",
    "count(count by (app) (count_over_time({app=~\".+\"}[20s])))",
    "quantile_over_time(0, {app=\"x\"} | logfmt | unwrap n | __error__=`` [1m]) by (app)",
    "quantile_over_time(1, {app=\"x\"} | logfmt | unwrap n | __error__=`` [1m]) by (app)",
    "quantile_over_time(1.5, {app=\"x\"} | logfmt | unwrap n | __error__=`` [1m]) by (app)",
    "quantile_over_time(0.25, {app=~\".+\"} | logfmt | unwrap n | __error__=`` [1m]) by ()",
    "sum by (app, nope) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (trace_id) (count_over_time({app=~\".+\"}[20s]))",
    "sum by (level) (count_over_time({app=\"x\"}[1m]))",
    "sum by (namespace) (rate({namespace=\"n-1\"} |= ip(`10.0.0.7`) [1m]))",
    "sum(count_over_time({app=~\".+\"} |> `<_>foo<_>` [1m]))",
    "sum by (verb) (count_over_time({app=\"y\"} | pattern `<verb> <path> <_>` | verb=~`GET|PUT` [1m]))",
];

#[test]
fn log_queries_by_hand_answer_as_plain_evaluation() {
    run(async {
        let data = data();
        let engine = engine(&data).await;
        let (mut shown, mut different) = (0, Vec::new());
        for query in LOGS {
            let expr = log_query(query);
            for range in [(0, 1_000 * SECOND), (105 * SECOND, 125 * SECOND)] {
                let expected = plain_logs(&expr, &data, range);
                for direction in [Direction::Forward, Direction::Backward] {
                    let found = logs(&engine, &expr, range, 1_000, direction).await.expect("log queries do not fail");
                    let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
                    if found != expected {
                        different.push(format!("{query}: {} entries, not {}; {first:?}", found.len(), expected.len()));
                    }
                }
                shown += expected.len();
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
        assert!(shown > 1_000, "{shown} entries are too few to tell anything");
    });
}

#[test]
fn metric_queries_by_hand_answer_as_plain_evaluation() {
    run(async {
        let data = data();
        let engine = engine(&data).await;
        let (mut answered, mut different) = (0, Vec::new());
        for query in METRICS {
            let expr = metric_query(query);
            // Steps on the stamps of entries, and one beside them; one step is an instant query.
            for (start, step, count) in [(110, 5, 8), (103, 7, 10), (145, 1, 0), (160, 60, 2)] {
                let steps = Steps { start: start * SECOND, step: step * SECOND, count };
                match (points(&engine, &expr, steps).await, plain_points(&expr, &data, steps)) {
                    (Ok(found), Ok(expected)) => {
                        different
                            .extend(difference(query, &found, &expected).map(|difference| format!("{query} at {steps:?}: {difference}")));
                        answered += expected.len();
                    }
                    (Err(QueryError::Evaluation(_) | QueryError::Pipeline { .. }), Err(_)) => {}
                    (found, expected) => different.push(format!("{query} at {steps:?}: {found:?} is not {expected:?}")),
                }
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
        assert!(answered > 1_000, "{answered} points are too few to tell anything");
    });
}

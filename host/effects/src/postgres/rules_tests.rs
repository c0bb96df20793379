//! What the rules let through and what they refuse.

use super::*;

fn rules() -> Rules {
    let catalogue = [
        "set_config",
        "query_to_xml",
        "lower",
        "sum",
        "dblink_connect",
        "convert_from",
        "pg_sleep",
        "ts_stat",
    ];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Rules::new(Foreign {
        names: names(&catalogue),
        as_columns: names(&["lower", "ts_stat", "dblink_connect"]),
    })
}

fn check(text: &str, given: usize) -> Result<bool, StatementError> {
    let parameters = vec![Value::Null; given];
    rules().check(text, &parameters, &StatementLimits::default()).map(|statement| statement.changes)
}

#[test]
fn data_statements_pass_and_tell_whether_they_change_rows() {
    for (text, given, changes) in [
        ("select lower($1)", 1, false),
        ("insert into t (a) values ($1), ($2) returning a", 2, true),
        ("with x as (select 1) update t set a = 2 from x;", 0, true),
        ("with x as (insert into t values (1) returning a) select a from x", 0, false),
        ("merge into t using s on t.a = s.a when matched then delete", 0, true),
        ("select 'set_config('' and ; -- ', \"Odd name\" from t /* pg_sleep /* nested */ ; */", 0, false),
        ("select own_function($1::jsonb -> 'a')", 1, false),
        ("select t.sum, ts_stat, (a.b).lower from t", 0, false),
    ] {
        assert_eq!(check(text, given), Ok(changes), "{text}");
    }
}

#[test]
fn what_reaches_beyond_the_data_is_refused() {
    for text in [
        "",
        "begin",
        "commit",
        "set role none",
        "copy t to '/tmp/x'",
        "notify x",
        "do $$ begin end $$",
        "create table t (a int)",
        "select 1; select 2",
        "select * into t2 from t",
        "select set_config('role', 'none', true)",
        "select \"set_config\"('role', 'none', true)",
        "select SET_CONFIG/**/('role', 'none', true)",
        "select U&\"\\0073et_config\"('role', 'none', true)",
        "select e'\\'', set_config('role', 'none', true), '",
        "select query_to_xml('select 1', true, true, '')",
        "select pg_sleep(10)",
        "select ('select 1'::text).ts_stat",
        "select ('select 1'::text) /* x */ . \"ts_stat\"",
        "select x.Ts_Stat from unnest(array['select 1']) x",
        "select (('dbname=x'::text)).dblink_connect",
        "select * from pg_settings",
        "select pg_catalog.lower('A')",
        "select * from information_schema.tables",
        "select * from keylane.claim",
        "select * from \"keylane\" . claim",
        "select $x$ a $x$",
        "select 1 /* /* */",
        "select 'a",
        "select \0 1",
    ] {
        assert!(matches!(check(text, 0), Err(StatementError::Refused(_))), "{text}");
    }
}

#[test]
fn parameters_are_those_that_were_given() {
    assert!(check("select $1", 0).is_err());
    assert!(check("select 1", 1).is_err());
    assert!(check("select $0", 0).is_err());
    assert_eq!(check("select $2, $1, $1", 2), Ok(false));
}

#[test]
fn the_list_of_functions_is_sorted() {
    assert!(ALLOWED.is_sorted(), "a binary search needs it so");
}

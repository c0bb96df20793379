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

/// PostgreSQL takes INSERT and MERGE as labels too, also without AS, so that the word before INTO tells nothing.
#[test]
fn no_select_makes_a_table_whatever_its_columns_are_called() {
    for text in [
        "select into t2",
        "select all into t2",
        "select 1 into t2",
        "select 1 as insert into t2",
        "select 1 AS MERGE INTO t2",
        "select a insert into temp t2 from t",
        "select a merge into unlogged table t2 from t",
        "select (1) insert into t2",
        "select \"x\" merge into temp t2 from t",
        "select (array[1])[1] insert into t2",
        "select 'a' insert into t2",
        "select 1insert into t2",
        "select t.* , 1 insert /* into */ into -- x\n t2 from t",
        "select (select 1) insert into t2",
        "select lower('a')insert into t2",
        "select distinct on (a) a insert into t2 from t",
        "select 1 insert into t2 union select 2",
        "select 1 union select 1 insert into t2",
        "values (1) union all select 1 insert into t2",
        "(select 1 insert into t2)",
        "with a as (select 1) select (1) insert into t2",
        "with a as (select 1) (select (1) insert into t2)",
        "with a as (select 1) ((select (1) insert into t2) union select 1)",
        "with recursive insert (select) as (select 1) select 1 insert into t2",
        "with a as materialized (select (1) merge into t2) select 1",
        "with a as (insert into t values (1) returning a insert into t2) select 1",
        "with a as (insert into t values (1) returning a) select a insert into t2 from a",
        "insert into t select a insert into t2 from t",
        "insert into t (select a insert into t2 from t)",
        "insert into t values (1) returning a insert into t2",
        "merge into t using (select 1 insert into t2) s on true when matched then delete",
        "update t set a = (select 1 insert into t2)",
        "delete from t where exists (select 1 merge into t2)",
        "select 1 from t where a in (select a insert into t2 from t)",
    ] {
        assert!(matches!(check(text, 0), Err(StatementError::Refused(_))), "{text}");
    }
    assert!(check("select $1 insert into t2", 1).is_err());
}

#[test]
fn insert_and_merge_go_into_their_tables_wherever_they_begin_a_statement() {
    for (text, changes) in [
        ("insert into t values (1)", true),
        ("/* x */ INSERT -- y\n INTO t select a from t returning a", true),
        ("insert into t with x as (select 1) select * from x", true),
        ("with x as (select 1) insert into t select * from x", true),
        (
            "with x (a) as not materialized (select 1), y as (values (2)) insert into t select * from x, y",
            true,
        ),
        ("with x as (insert into t values (1) returning a), y as (select 1) select a from x", false),
        (
            "with x as materialized (insert into t select a from s returning a) insert into t select a from x",
            true,
        ),
        (
            "with x as (with y as (select 1 as a) insert into t select a from y returning a) select a from x",
            false,
        ),
        (
            "with x as (delete from t returning a) merge into s using x on s.a = x.a when matched then delete",
            true,
        ),
        (
            "with x as (merge into t using s on t.a = s.a when matched then delete returning a) select a from x",
            false,
        ),
        (
            "merge into t using s on t.a = s.a when not matched then insert (a) values (s.a) when matched then delete",
            true,
        ),
        (
            "with recursive x (a) as (select 1) search depth first by a set b insert into t select a from x",
            true,
        ),
        ("with recursive x (a) as (select 1) cycle a set b using c insert into t select a from x", true),
        ("select insert, merge, 1 insert, t.insert as merge from t", false),
        ("select \"into\", \"insert\" from t", false),
        ("insert into t (insert, \"into\") values (1, 2) returning insert", true),
    ] {
        assert_eq!(check(text, 0), Ok(changes), "{text}");
    }
}

/// Servers before the fifteenth version end a number at the first letter that it cannot have: a name, or a keyword,
/// follows it.
#[test]
fn no_word_hides_behind_a_number() {
    for text in
        ["1into t2", "1.into t2", "1.5into t2", ".5into t2", "1e5into t2", "1e+5into t2", "0x1into t2"]
    {
        let text = format!("select {text}");
        assert!(matches!(check(&text, 0), Err(StatementError::Refused(_))), "{text}");
    }
    let numbers = "select 1, 1., 1.5, .5, 1e5, 1E-5, 1.5e+3, 1_000, 0xFf, 0o17, 0B1_0";
    assert_eq!(check(numbers, 0), Ok(false));
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

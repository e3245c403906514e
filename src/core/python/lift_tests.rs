//! Files of Python into the SQL that stands in them.

use proptest::prelude::*;

use super::{
    lexer_tests::python_like,
    lift::{Lifted, lift},
};
use crate::core::sql::position::locate_byte;

fn sql(lifted: &Lifted) -> (Vec<&str>, Vec<&str>) {
    (
        lifted.up.sql.iter().map(|literal| literal.text.as_str()).collect(),
        lifted.down.sql.iter().map(|literal| literal.text.as_str()).collect(),
    )
}

fn lifted(text: &str) -> Lifted {
    lift(text).unwrap_or_else(|found| panic!("{text}\n{found:?}"))
}

/// A method `up` with these lines.
fn up(lines: &str) -> String {
    format!("class A(Migration):\n    def up(self, engine):\n        {}\n", lines.replace('\n', "\n        "))
}

/// What is found, a line each.
fn found(text: &str) -> Vec<String> {
    let place = |at| {
        let location = locate_byte(text, 1, at);
        format!("{}:{}", location.line, location.column)
    };
    let found = lift(text).expect_err(text);
    found.into_iter().map(|trouble| format!("{}: {}", place(trouble.at), trouble.message)).collect()
}

/// Q27, H22: wherever `up` and `down` stand, whatever their argument is called, and however a literal is written.
#[test]
fn literal_sql_is_lifted_out_of_calls() {
    for (line, expected) in [
        ("engine.execute(\"SELECT 1\")", "SELECT 1"),
        ("engine.execute_sql('SELECT 1')", "SELECT 1"),
        ("engine.execute_sql('''SELECT\n1''')", "SELECT\n        1"),
        ("engine.exec(text(\"SELECT 1\"))", "SELECT 1"),
        ("engine.execute(text('SELECT 1'),)", "SELECT 1"),
        ("engine.execute(sa.text('SELECT 1'))", "SELECT 1"),
        ("engine.execute(('SELECT'  # why\n' 1'))", "SELECT 1"),
        ("engine.execute('SELECT' \" \" r'1')", "SELECT 1"),
        ("engine.execute('SELECT ' + '1')", "SELECT 1"),
        ("engine.execute(f'SELECT {{1}}')", "SELECT {1}"),
        ("engine.execute(r'SELECT \\d')", "SELECT \\d"),
        ("await engine.execute_sql('SELECT 1')", "SELECT 1"),
        ("engine.execute_sql('SELECT 1'); pass", "SELECT 1"),
        ("engine . execute_sql ('SELECT \\'%s\\' % 2')", "SELECT '%s' % 2"),
    ] {
        assert_eq!(sql(&lifted(&up(line))).0, [expected], "{line}");
    }
    for (text, expected) in [
        ("def up(ctx):\n  ctx.execute('a')\ndef down(ctx): ctx.execute('b')\n", (vec!["a"], vec!["b"])),
        ("async def up(session: Session, *, x=1) -> None:\n  await session.exec(text('a'))\n", (vec!["a"], vec![])),
        ("class A:\n  @staticmethod\n  def up(e):\n    e.execute('a')\n    e.execute('b')\n", (vec!["a", "b"], vec![])),
        ("class A:\n  @override\n  def up(self, e): pass\n  def down(self, e): ...\n", (vec![], vec![])),
        (
            "class A:\n  def up(self, e): e.execute('a')\n  def down(self, e):\n    raise NotImplementedError('no')\n",
            (vec!["a"], vec![]),
        ),
    ] {
        assert_eq!(sql(&lifted(text)), expected, "{text}");
    }
}

#[test]
fn what_changes_nothing_is_passed_over() {
    let text = "\
#!/usr/bin/env python
\"\"\"Migration: Add users

Generated: 2026-02-15
\"\"\"
from __future__ import annotations
from sqlalchemy import (
    text,
)
import typing
if typing.TYPE_CHECKING:
    from x import y

__all__ = ['A']

class A(Migration):
    \"\"\"
    Adds users,
    and more.

    Not this.
    \"\"\"
    version: str = \"20260215_120000\"
    message = ('Add '
               'users')
    depends_on = [\"20260214_120000\", '20260213_120000',]
    head_id = 'f00'
    timeout_seconds: int = 30

    def up(self, session: \"Session\" = None) -> None:
        '''Apply it.'''
        # The table
        from sqlmodel import text
        session.exec(text('a'))  # noqa
        session.commit()
        session.flush()
        session.exec(text('b'))
        session.commit()
        return None

    async def up_async(self, engine):
        \"\"\"Not used.\"\"\"
        pass
";
    let lifted = lifted(text);
    assert_eq!(sql(&lifted), (vec!["a", "b"], vec![]));
    assert_eq!(lifted.version.as_ref().map(|(version, _)| version.as_str()), Some("20260215_120000"));
    assert_eq!(lifted.message.as_deref(), Some("Add users"));
    assert_eq!(lifted.description.as_deref(), Some("Adds users, and more."));
    let depends: Vec<&str> = lifted.depends.iter().map(|(version, _)| version.as_str()).collect();
    assert_eq!(depends, ["20260214_120000", "20260213_120000"]);
    let lines =
        |notes: &[super::Trouble]| notes.iter().map(|note| locate_byte(text, 1, note.at).line).collect::<Vec<_>>();
    assert_eq!((lines(&lifted.notes), lines(&lifted.commits)), (vec![28], vec![35]), "the commit in the middle alone");
    let described = |text: &str| super::lift::lift(text).expect(text).description;
    assert_eq!(described("'''Migration: x\n\nCreated'''\ndef up(s): pass"), Some("x".to_owned()));
    assert_eq!(described("def up(s): pass"), None);
    for none in ["None", "[]", "()"] {
        let text = format!("class A:\n  depends_on = {none}\n  def up(self, e): pass\n");
        assert_eq!(super::lift::lift(&text).expect("it is literal").depends, []);
    }
}

/// Q27: what only a run would tell is found, with its place, what it is, and what to do.
#[test]
fn what_is_not_literal_is_refused() {
    for (line, says) in [
        ("engine.execute(sql)", "3:24: `sql` gets its value when it runs: write the SQL in its place"),
        ("engine.execute(self.sql)", "3:24: `self.sql` gets its value"),
        ("engine.execute(build(1))", "3:24: what `build(…)` gives back"),
        ("engine.execute(dedent('a'))", "3:24: what `dedent(…)` gives back"),
        ("engine.execute(text(sql))", "3:29: `sql` gets its value"),
        ("engine.execute(text('a').bindparams(x=1))", "3:33: what is done with `text(…)`"),
        ("engine.execute(text('a = :x'))", "3:34: `:x` is a parameter to text()"),
        ("engine.execute('a' + b)", "3:30: `b` gets its value"),
        ("engine.execute('a' % b)", "3:28: `%` puts values"),
        ("engine.execute('a'.format(b))", "3:27: `.format` makes the text up"),
        ("engine.execute('a'.strip())", "3:27: `.strip` changes the text"),
        ("engine.execute('a' if b else 'c')", "3:28: `if` decides"),
        ("engine.execute(f'a {b}')", "3:28: `{b}` gets its value"),
        ("engine.execute(b'a')", "3:24: these are bytes"),
        ("engine.execute('\\N{DASH}')", "3:25: Dunlin doesn't know characters by their names"),
        ("engine.execute('a', (1,))", "3:29: values beside the SQL"),
        ("engine.execute(text('a'), {'x': 1})", "3:35: values beside the SQL"),
        ("engine.execute(sql='a')", "3:24: an argument by its name"),
        ("engine.execute()", "3:24: `engine.execute` is given no SQL"),
        ("engine.execute(['a'])", "3:24: it isn't a string"),
        ("engine.execute('a').fetchall()", "3:28: what `engine.execute` gives back"),
        ("engine.executemany('a')", "3:9: `engine.executemany` holds no SQL"),
        ("engine.add(User())", "3:9: `engine.add` holds no SQL"),
        ("engine.connection().execute('a')", "3:9: `engine.connection` holds no SQL"),
        ("engine.rollback()", "3:9: `engine.rollback` holds no SQL"),
        ("op.create_table('a')", "3:9: `op.create_table` is an operation of Alembic"),
        ("self.helper(engine)", "3:9: `self.helper` isn't read"),
        ("helper(engine)", "3:9: `helper` isn't read"),
        ("print('a')", "3:9: `print` does nothing to the database: remove it"),
        ("sql = 'a'", "3:9: a variable is known when it runs"),
        ("rows = engine.execute('a')", "3:9: a variable"),
        ("x: int = 1", "3:9: a variable"),
        ("x += 1", "3:9: a variable"),
        ("engine", "3:9: it isn't a call"),
        ("for x in y:\n    pass", "3:9: `for` repeats"),
        ("if x: pass\nelse: pass", "3:9: `if` decides"),
        ("with engine.begin() as c:\n    c.execute('a')", "3:9: `with` opens"),
        ("try:\n    pass\nexcept X:\n    pass", "3:9: `try` goes on"),
        ("match x:\n    case 1:\n        pass", "3:9: `match` decides"),
        ("def f(): pass", "3:9: `def` inside of a function"),
        ("return\npass", "3:9: what stands behind `return`"),
        ("return 1", "3:9: what stands behind `return`"),
        ("raise NotImplementedError", "3:9: `raise` ends the migration"),
        ("assert x", "3:9: `assert` ends the migration"),
        ("from x import text", "3:23: this `text` isn't SQLAlchemy's"),
        ("import x as text", "3:21: this `text` isn't SQLAlchemy's"),
        ("engine.execute(x.text('a'))", "3:24: what `x.text(…)` gives back"),
        ("engine.execute('a", "3:24: the string that begins here isn't closed"),
    ] {
        let found = found(&up(line));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(says), "{line}: {found:?}");
    }
}

#[test]
fn what_stands_around_functions_is_refused_where_it_does_something() {
    for (text, says) in [
        ("", "1:1: no function `up` stands in this file"),
        ("def down(e): pass", "1:1: no function `up`"),
        (
            "def up(): e.execute('a')",
            "1:11: `e.execute` isn't read, for Dunlin doesn't run Python: write the SQL that it comes to, as session.execute",
        ),
        ("print('x')\ndef up(e): pass", "1:1: this runs when the file is loaded"),
        ("for x in y: pass\ndef up(e): pass", "1:1: this runs when the file is loaded"),
        ("if TYPE_CHECKING:\n  pass\nelse:\n  x()\ndef up(e): pass", "3:1: this runs when"),
        ("a = b()\ndef up(e): pass", "1:5: this is called when the file is loaded"),
        ("from x import text\ndef up(e): pass", "1:15: this `text` isn't SQLAlchemy's"),
        ("text = str\ndef up(e): pass", "1:1: `text` gets its value"),
        ("def helper(e): pass\ndef up(e): pass", "1:5: `helper` stands beside `up` and `down`"),
        ("def up(e): pass\ndef up(e): pass", "2:5: `up` stands in this file already"),
        ("class B:\n  pass\ndef up(e): pass", "1:1: the class B has no `up`"),
        ("class A:\n  def up(s, e): pass\nclass B:\n  def up(s, e): pass", "3:1: the class A is this file's migration"),
        ("class A:\n  x = f()\n  def up(self, e): pass", "2:7: this is called when the class is made"),
        ("class A:\n  version = V\n  def up(self, e): pass", "2:13: `V` gets its value"),
        ("class A:\n  depends_on = [V]\n  def up(self, e): pass", "2:17: `V` gets its value"),
        (
            "class A:\n  def up(self, e): pass\n  async def up_async(self, e):\n    await e.execute_sql('a')",
            "3:13: `up_async` runs in the place of",
        ),
        ("@retry(3)\ndef up(e): pass", "1:1: what `@retry(3)` makes of `up`"),
        ("@register\nclass A:\n  def up(self, e): pass", "1:1: what a decorator makes"),
    ] {
        let found = found(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(says), "{text}: {found:?}");
    }
}

#[test]
fn everything_is_found_at_once_and_in_order() {
    let text = "import x\nfor y in z: pass\nclass A:\n  def up(self, e):\n    e.execute(a)\n    b = 1\n  def down(self, e):\n    e.execute(f'{c}')\n";
    let places: Vec<String> =
        found(text).iter().map(|line| line.split(": ").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(places, ["2:1", "5:15", "6:5", "8:17"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever a file holds, it is understood or refused at places of it.
    #[test]
    fn any_file_is_lifted_or_refused(text in prop_oneof![python_like(), "(?s).{0,60}"]) {
        match lift(&text) {
            Ok(lifted) => prop_assert!(lifted.up.at.is_some()),
            Err(found) => {
                prop_assert!(!found.is_empty());
                prop_assert!(found.iter().all(|trouble| text.is_char_boundary(trouble.at)));
            }
        }
    }
}

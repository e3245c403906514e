//! What a person reads when SQL is refused, to the letter.

use crate::project::Project;

/// A table with a row, and a second migration that fails.
async fn failing(second: &str) -> (Project, String) {
    let first = "CREATE TABLE users (id int PRIMARY KEY, name text);\nINSERT INTO users VALUES (1, 'ann');\n";
    let project = Project::with(&[("001_users.sql", first), ("002_more.sql", second)]).await;
    let ran = project.dunlin(&["apply"]).await;
    ran.code(5);
    let begun = "1 of 2: 001_users\n2 of 2: 002_more";
    assert!(ran.stderr.starts_with(begun), "{}", ran.stderr);
    let said = ran.stderr.split("applied 001_users.sql\n").nth(1).expect("it says what was applied").to_owned();
    (project, said)
}

/// M12: file, line, column, the line with a caret, SQLSTATE, DETAIL, and what to do next. DETAIL holds a row: it is told to
/// whoever runs the command, and stands in the history, but in no message that is kept elsewhere.
#[tokio::test]
async fn a_violated_constraint_says_which_row_and_what_to_do() {
    let text = "ALTER TABLE users ADD COLUMN age int;\n\n  INSERT INTO users VALUES (2, 'bob'), (1, 'eve');\n";
    let (project, said) = failing(text).await;
    let expected = "\
dunlin: 002_more.sql:3:3: duplicate key value violates unique constraint \"users_pkey\" (SQLSTATE 23505)
  INSERT INTO users VALUES (2, 'bob'), (1, 'eve');
  ^
DETAIL: Key (id)=(1) already exists.
Nothing of it was kept (run 2). Mend the file, or run it again as it is: dunlin resolve --run 2 --as retry
";
    assert_eq!(said, expected);
    let kept = project.ask("SELECT error FROM dunlin.run WHERE outcome = 'failed'").await;
    assert!(kept.contains("23505") && !kept.contains("DETAIL"), "{kept}");
    let runs = project.dunlin(&["history", "-o", "json"]).await.code(0).json();
    let failed = runs.as_array().expect("a list").iter().find(|run| run["outcome"] == "failed").expect("it is there");
    assert_eq!(failed["detail"], "Key (id)=(1) already exists.");
}

/// The server's own HINT, and a caret below wide characters.
#[tokio::test]
async fn a_hint_of_the_server_is_told_and_the_caret_is_below_what_is_meant() {
    let (_, said) = failing("SELECT '日本', nam FROM users;\n").await;
    let expected = "\
dunlin: 002_more.sql:1:14: column \"nam\" does not exist (SQLSTATE 42703)
SELECT '日本', nam FROM users;
               ^
HINT: Perhaps you meant to reference the column \"users.name\".
Nothing of it was kept (run 2). Mend the file, or run it again as it is: dunlin resolve --run 2 --as retry
";
    assert_eq!(said, expected);
}

/// M20: of a migration without a transaction, what is done and what isn't, and each way out.
#[tokio::test]
async fn what_is_half_done_says_so_and_names_each_way_out() {
    let text = "-- migrate: no-transaction\nCREATE TABLE more (a int);\nSELECT 1/0;\n";
    let (project, said) = failing(text).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "dunlin: 002_more.sql:3:1: division by zero (SQLSTATE 22012)");
    assert_eq!(lines[1..3], ["SELECT 1/0;", "^"]);
    let rest = lines[3..].join("\n");
    for words in [
        "1 of its statements is done",
        "dunlin resolve --run 2 --as",
        "retry",
        "resume",
        "mark-applied",
        "mark-rolled-back",
    ] {
        assert!(rest.contains(words), "no {words:?} in {rest}");
    }
    assert_eq!(project.tables().await, "more users");
}

/// A function's own place is told as well as the statement's, in a rehearsal as in a run.
#[tokio::test]
async fn a_rehearsal_says_the_same() {
    let text = "DO $$\nBEGIN\n  INSERT INTO users VALUES (1);\nEND\n$$;\n";
    let project = Project::with(&[
        ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY);\nINSERT INTO users VALUES (1);\n"),
        ("002_more.sql", text),
    ])
    .await;
    let ran = project.dunlin(&["plan", "--execute"]).await;
    let expected = "\
dunlin: 002_more.sql:1:1: duplicate key value violates unique constraint \"users_pkey\" (SQLSTATE 23505)
DO $$
^
DETAIL: Key (id)=(1) already exists.
CONTEXT: PL/pgSQL function inline_code_block line 3 at SQL statement
1 of 2 went through before it. It was a rehearsal: everything was rolled back, and nothing was changed
";
    assert_eq!(ran.code(5).stderr.split("up 002_more\n").nth(1), Some(expected));
}

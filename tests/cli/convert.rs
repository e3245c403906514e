//! Migrations in Python into files of SQL, and those applied.

use crate::project::Project;

/// The columns of the tables, their constraints and indexes.
const SHAPE: &str = "SELECT string_agg(what, E'\\n' ORDER BY what) FROM (\
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') AS what \
    FROM information_schema.columns WHERE table_schema = 'public' \
    UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
    WHERE connamespace = 'public'::regnamespace AND contype <> 'n' \
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public') AS shape";

/// As herogold's document has it.
const USERS: &str = r#"from sqlmodel import Session
from herogold.orm.migrations import Migration

class CreateUsersTable(Migration):
    """Migration for create users table."""

    def up(self, session: Session) -> None:
        """Apply the migration."""
        session.exec(text("""
            CREATE TABLE users (
                id SERIAL PRIMARY KEY,
                name VARCHAR(255) NOT NULL,
                email VARCHAR(255) UNIQUE NOT NULL,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            )
        """))
        session.commit()

    def down(self, session: Session) -> None:
        """Rollback the migration."""
        session.exec(text("DROP TABLE IF EXISTS users"))
        session.commit()
"#;

/// The same document's whole example.
const ROLES: &str = r#""""Migration: add_user_roles

Created at: 2026-02-15T12:00:00Z
"""

from sqlalchemy import text
from sqlmodel import Session

from herogold.orm.migrations import Migration


class AddUserRoles(Migration):
    """Migration for adding user roles table and relationship."""

    def up(self, session: Session) -> None:
        """Apply the migration."""
        # Create roles table
        session.exec(text("""
            CREATE TABLE roles (
                id SERIAL PRIMARY KEY,
                name VARCHAR(50) UNIQUE NOT NULL,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            )
        """))
        
        # Add role_id to users table
        session.exec(text("""
            ALTER TABLE users 
            ADD COLUMN role_id INTEGER REFERENCES roles(id)
        """))
        
        # Insert default roles
        session.exec(text("""
            INSERT INTO roles (name) VALUES 
            ('admin'), ('user'), ('guest')
        """))
        
        session.commit()

    def down(self, session: Session) -> None:
        """Rollback the migration."""
        # Remove role_id column
        session.exec(text("ALTER TABLE users DROP COLUMN IF EXISTS role_id"))
        
        # Drop roles table
        session.exec(text("DROP TABLE IF EXISTS roles"))
        
        session.commit()
"#;

/// As psqlmodel's document has it, comments and blanks included.
const ADD_USERS: &str = r#"# migrations/20251212_191130_add_users_table.py

from psqlmodel.migrations import Migration


class AddUsersTable(Migration):
    """Add users table"""
    
    version = "20251212_191130"
    message = "Add users table"
    depends_on = None  # Or previous version
    
    def up(self, engine):
        """Apply the migration."""
        engine.execute("""
            CREATE TABLE users (
                id SERIAL PRIMARY KEY,
                email VARCHAR(255) NOT NULL
            )
        """)
    
    def down(self, engine):
        """Revert the migration."""
        engine.execute("DROP TABLE IF EXISTS users CASCADE")
"#;

/// As psqlmodel writes one, `index` being its SQL.
const GENERATED: &str = r#""""
Migration: Index users

Generated: 2025-12-13T08:00:00
"""

from psqlmodel.migrations import Migration


class Migration_20251213_080000(Migration):
    """
    Index users
    """
    
    version = "20251213_080000"
    message = "Index users"
    depends_on = "20251212_191130"
    head_id = "5c1f4a0e-0000-4000-8000-000000000000"
    
    def up(self, engine):
        """Apply migration (sync)."""
        # Index on email
        engine.execute_sql("CREATE UNIQUE INDEX CONCURRENTLY \"users by email\" ON public.users (email);")
    
    def down(self, engine):
        """Revert migration (sync)."""
        engine.execute_sql("DROP INDEX CONCURRENTLY public.\"users by email\";")
"#;

async fn with_python(files: &[(&str, &str)]) -> Project {
    let project = Project::new().await;
    std::fs::create_dir(project.path("old")).expect("a folder");
    for (name, text) in files {
        project.write(&format!("old/{name}"), text);
    }
    project
}

fn names(project: &Project, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(project.path(folder)).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn convert(project: &Project, arguments: &[&str]) -> crate::project::Ran {
    let arguments: Vec<&str> = ["convert", "old"].iter().chain(arguments).copied().collect();
    project.dunlin_with(&arguments, &[]).await
}

/// H29, H22, H06: the document's first file and its whole example end as if their own tool had run them, and go back.
#[tokio::test]
async fn an_example_with_schema_and_data_ends_as_the_original_does() {
    let project = with_python(&[
        ("20260215_02_add_user_roles.py", ROLES),
        ("20260215_create_users_table.py", USERS),
        ("__init__.py", "\"\"\"Database migrations.\"\"\"\n"),
    ])
    .await;
    let ran = convert(&project, &["--from", "herogold"]).await;
    assert_eq!(
        ran.code(0).stdout,
        "migrations/20260215_02_add_user_roles.sql\nmigrations/20260215_create_users_table.sql\n"
    );
    assert_eq!(ran.stderr, "");
    let roles = std::fs::read_to_string(project.path("migrations/20260215_02_add_user_roles.sql"));
    assert_eq!(
        roles.expect("it is there"),
        "-- migration: Add user roles\n\
         -- description: Migration for adding user roles table and relationship.\n\n\
         -- migrate: up\n\
         CREATE TABLE roles (\n    id SERIAL PRIMARY KEY,\n    name VARCHAR(50) UNIQUE NOT NULL,\n    \
         created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP\n);\n\n\
         ALTER TABLE users\nADD COLUMN role_id INTEGER REFERENCES roles(id);\n\n\
         INSERT INTO roles (name) VALUES\n('admin'), ('user'), ('guest');\n\n\
         -- migrate: down\n\
         ALTER TABLE users DROP COLUMN IF EXISTS role_id;\n\n\
         DROP TABLE IF EXISTS roles;\n"
    );
    project.dunlin(&["apply"]).await.code(0);
    // What the statements of the document do, each run by itself.
    let original = Project::new().await;
    for statement in [
        "CREATE TABLE users (id SERIAL PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) UNIQUE NOT NULL, \
         created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE roles (id SERIAL PRIMARY KEY, name VARCHAR(50) UNIQUE NOT NULL, \
         created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
        "ALTER TABLE users ADD COLUMN role_id INTEGER REFERENCES roles(id)",
        "INSERT INTO roles (name) VALUES ('admin'), ('user'), ('guest')",
    ] {
        original.ask(statement).await;
    }
    assert_eq!(project.ask(SHAPE).await, original.ask(SHAPE).await);
    let rows = "SELECT string_agg(id || ' ' || name, ', ' ORDER BY id) FROM roles";
    assert_eq!(project.ask(rows).await, "1 admin, 2 user, 3 guest");
    assert_eq!(original.ask(rows).await, "1 admin, 2 user, 3 guest");
    project.dunlin(&["down"]).await.code(0);
    assert_eq!(project.tables().await, "users");
    project.dunlin(&["reset", "--yes"]).await.code(0);
    assert_eq!(project.tables().await, "");
}

/// Q27, Q28: the document's file, which its own tool can't run, and one as the tool writes it.
#[tokio::test]
async fn migrations_of_psqlmodel_run() {
    let files = [("20251212_191130_add_users_table.py", ADD_USERS), ("20251213_080000_index_users.py", GENERATED)];
    let project = with_python(&files).await;
    project.write("old/__init__.py", "");
    project.write("old/head.lock", "{}");
    let ran = convert(&project, &["--from", "psqlmodel"]).await;
    assert_eq!(
        ran.code(0).stdout,
        "migrations/20251212_191130_add_users_table.sql\nmigrations/20251213_080000_index_users.sql\n"
    );
    let index = std::fs::read_to_string(project.path("migrations/20251213_080000_index_users.sql"));
    assert_eq!(
        index.expect("it is there"),
        "-- migration: Index users\n-- depends: 20251212_191130\n-- migrate: no-transaction\n\n-- migrate: up\n\
         CREATE UNIQUE INDEX CONCURRENTLY \"users by email\" ON public.users (email);\n\n-- migrate: down\n\
         DROP INDEX CONCURRENTLY public.\"users by email\";\n"
    );
    project.dunlin(&["lint"]).await.code(0);
    project.dunlin(&["apply"]).await.code(0);
    let shape = project.ask(SHAPE).await;
    assert!(shape.contains("users.email character varying NO") && shape.contains("\"users by email\""), "{shape}");
    project.dunlin(&["reset", "--yes"]).await.code(0);
    assert_eq!(project.tables().await, "");
}

/// Q27: everything that isn't literal is said at once, and nothing is written.
#[tokio::test]
async fn what_is_not_literal_is_named_and_nothing_is_written() {
    let looping = "class A:\n    def up(self, session):\n        for name in NAMES:\n            session.exec(text(f\"CREATE TABLE {name} ()\"))\n        session.exec(sql)\n";
    let broken = "def up(session):\n    session.exec(text('SELECT (1'))\n    op.drop_table('x')\n";
    let files = [("20260214_users.py", USERS), ("20260215_a.py", looping), ("20260216_b.py", broken), ("c.py", USERS)];
    let project = with_python(&files).await;
    let ran = convert(&project, &["--from", "herogold"]).await;
    ran.code(3).says(&[
        "nothing was written; these 4 stand in the way:\n",
        "\nold/20260215_a.py:3:9: `for` repeats what it holds",
        "\nold/20260215_a.py:5:22: `sql` gets its value when it runs",
        "\nold/20260216_b.py:3:5: `op.drop_table` is an operation of Alembic",
        "\nold/c.py:1:1: c.sql is no migration file",
    ]);
    assert_eq!(ran.stdout, "");
    assert_eq!(names(&project, "migrations"), [""; 0]);
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let project = with_python(&[("20260215_a.py", USERS), ("20260216_b.py", USERS)]).await;
    project.migration("20260216_b.sql", "SELECT 1;");
    let ran = convert(&project, &["--from", "herogold"]).await;
    ran.code(4).says(&["migrations/20260216_b.sql is there already, and nothing was written"]);
    assert_eq!(names(&project, "migrations"), ["20260216_b.sql"]);
    let kept = std::fs::read_to_string(project.path("migrations/20260216_b.sql"));
    assert_eq!(kept.expect("it is there"), "SELECT 1;");
    // Another folder is made.
    let ran = convert(&project, &["--from", "herogold", "--into", "new/sql"]).await;
    assert_eq!(ran.code(0).stdout, "new/sql/20260215_a.sql\nnew/sql/20260216_b.sql\n");
    let again = convert(&project, &["--from", "herogold", "--into", "new/sql"]).await;
    again.code(4).says(&["new/sql/20260215_a.sql, new/sql/20260216_b.sql are there already"]);
}

#[tokio::test]
async fn a_file_that_can_not_be_written_takes_the_others_back() {
    // One byte more than a name may have, once it ends in .sql.
    let long = format!("20260216_{}.py", "x".repeat(243));
    let project = with_python(&[("20260215_a.py", USERS), (&long, USERS)]).await;
    convert(&project, &["--from", "herogold"]).await.code(9).says(&["see to it that it can be written"]);
    assert_eq!(names(&project, "migrations"), [""; 0]);
}

#[tokio::test]
async fn a_dry_run_prints_what_would_be_written() {
    let down = "class A:\n    version = '2'\n    def up(self, e):\n        e.execute('SELECT 1')\n    def down(self, e):\n        pass\n";
    let project = with_python(&[("1_a.py", down)]).await;
    let ran = convert(&project, &["--from", "psqlmodel", "--dry-run", "--into", "new"]).await;
    assert_eq!(ran.code(0).stdout, "-- new/2_a.sql\n-- migration: A\n\n-- migrate: up\nSELECT 1;\n\n");
    ran.says(&["1_a.py becomes 2_a.sql", "no way down: `down` does nothing", "nothing was written"]);
    assert!(!project.path("new").exists());
}

#[tokio::test]
async fn a_folder_that_can_not_be_converted_is_named() {
    let project = with_python(&[("20260215_a.py", USERS)]).await;
    for (arguments, code, said) in [
        (&["convert", "gone", "--from", "herogold"][..], 3, "gone: "),
        (&["convert", "migrations", "--from", "herogold"], 3, "migrations: holds no migration in Python"),
        (&["convert", "old", "--from", "herogold", "--into", "./old"], 3, "./old: is the folder that is converted"),
        (&["convert", "old"], 2, "--from"),
        (&["convert", "old", "--from", "alembic"], 2, "alembic"),
    ] {
        project.dunlin_with(arguments, &[]).await.code(code).says(&[said]);
    }
}

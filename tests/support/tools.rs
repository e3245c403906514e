//! The tables in which other tools keep their histories, as the tools make them.

/// Migretti 0.10.0 and 0.9.4 (`migretti/db.py`, `ensure_schema`).
pub const MIGRETTI: &str = "
    CREATE TABLE _migrations (
        id VARCHAR(26) PRIMARY KEY,
        name VARCHAR(255) NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        checksum VARCHAR(64),
        status VARCHAR(20) DEFAULT 'applied' -- 'applied', 'failed'
    );
    CREATE TABLE _migrations_log (
        id BIGSERIAL PRIMARY KEY,
        migration_id VARCHAR(26) NOT NULL,
        name VARCHAR(255) NOT NULL,
        action VARCHAR(10) NOT NULL, -- 'UP', 'DOWN', 'FIX'
        performed_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        performed_by VARCHAR(255),
        checksum VARCHAR(64)
    );";

/// metapg-migrations 0.0.1 (`metapg/migrations/runner.py`, `ensure_migration_table`).
pub const METAPG: &str = "
    CREATE TABLE _metapg_migrations (
        name VARCHAR(255) PRIMARY KEY,
        version INTEGER NOT NULL,
        checksum VARCHAR(32) NOT NULL,
        applied_at TIMESTAMPTZ DEFAULT NOW(),
        duration_ms NUMERIC(10,2),
        error TEXT
    );
    CREATE INDEX idx_metapg_migrations_version ON _metapg_migrations(version);
    CREATE INDEX idx_metapg_migrations_applied_at ON _metapg_migrations(applied_at);";

/// psqlmodel 0.9.31 (`psqlmodel/migrations/state.py`, `ensure_tables`).
pub const PSQLMODEL: &str = "
    CREATE SCHEMA migrations;
    CREATE TABLE migrations._psqlmodel_migrations (
        version VARCHAR(50) PRIMARY KEY,
        message TEXT,
        applied_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
        checksum VARCHAR(64),
        execution_time_ms INTEGER,
        rolled_back_at TIMESTAMP WITH TIME ZONE
    );
    CREATE TABLE migrations._psqlmodel_migrations_failures (
        id SERIAL PRIMARY KEY,
        version VARCHAR(50) NOT NULL,
        message TEXT,
        error_message TEXT NOT NULL,
        stack_trace TEXT,
        failed_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
    );";

/// herogold.orm's, by its real name; its documents call it `migrations`.
pub const HEROGOLD: &str = "
    CREATE TABLE migrationrecord (
        id BIGSERIAL PRIMARY KEY,
        created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL DEFAULT now(),
        updated_at TIMESTAMP WITHOUT TIME ZONE NOT NULL DEFAULT now(),
        name VARCHAR NOT NULL UNIQUE,
        batch INTEGER NOT NULL,
        applied_at TIMESTAMP WITHOUT TIME ZONE NOT NULL
    );";

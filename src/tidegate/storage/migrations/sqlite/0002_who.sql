CREATE TABLE organisations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    disabled_ms INTEGER,
    limits TEXT NOT NULL,          -- lists are JSON
    budgets TEXT NOT NULL
);
INSERT INTO organisations VALUES ('default', 'default', 0, NULL, '[]', '[]');

CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    organisation_id TEXT NOT NULL,
    disabled_ms INTEGER,
    limits TEXT NOT NULL,
    budgets TEXT NOT NULL
);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    team_id TEXT,
    role TEXT NOT NULL,
    disabled_ms INTEGER,
    limits TEXT NOT NULL,
    budgets TEXT NOT NULL
);

ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
UPDATE keys SET role = 'admin' WHERE admin;
ALTER TABLE keys DROP COLUMN admin;
ALTER TABLE keys ADD COLUMN team_id TEXT;
ALTER TABLE keys ADD COLUMN user_id TEXT;
ALTER TABLE keys ADD COLUMN disabled_ms INTEGER;
ALTER TABLE keys ADD COLUMN expires_ms INTEGER;
ALTER TABLE keys ADD COLUMN former_digest BLOB;
ALTER TABLE keys ADD COLUMN former_pepper_version INTEGER;
ALTER TABLE keys ADD COLUMN former_until_ms INTEGER;
ALTER TABLE keys ADD COLUMN routes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN endpoints TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN addresses TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN budgets TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN last_used_ms INTEGER;

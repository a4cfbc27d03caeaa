CREATE TABLE tidegate.organisations (
    place BIGINT GENERATED ALWAYS AS IDENTITY,  -- the order in which they were made
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    disabled_ms BIGINT,
    limits TEXT NOT NULL,                       -- lists are JSON
    budgets TEXT NOT NULL
);
INSERT INTO tidegate.organisations (id, name, created_ms, limits, budgets) VALUES ('default', 'default', 0, '[]', '[]');

CREATE TABLE tidegate.teams (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    organisation_id TEXT COLLATE "C" NOT NULL,
    disabled_ms BIGINT,
    limits TEXT NOT NULL,
    budgets TEXT NOT NULL
);

CREATE TABLE tidegate.users (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    team_id TEXT COLLATE "C",
    role TEXT NOT NULL,
    disabled_ms BIGINT,
    limits TEXT NOT NULL,
    budgets TEXT NOT NULL
);

CREATE TABLE tidegate.keys (
    place BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    env TEXT NOT NULL,
    digest BYTEA NOT NULL,
    pepper_version INTEGER NOT NULL,
    created_ms BIGINT NOT NULL,
    role TEXT NOT NULL,
    team_id TEXT COLLATE "C",
    user_id TEXT COLLATE "C",
    revoked_ms BIGINT,
    disabled_ms BIGINT,
    expires_ms BIGINT,
    former_digest BYTEA,
    former_pepper_version INTEGER,
    former_until_ms BIGINT,
    routes TEXT NOT NULL,
    endpoints TEXT NOT NULL,
    scopes TEXT NOT NULL,
    addresses TEXT NOT NULL,
    tags TEXT NOT NULL,
    limits TEXT NOT NULL,
    budgets TEXT NOT NULL,
    last_used_ms BIGINT
);

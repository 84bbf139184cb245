-- Version 1 of what stands beside Marten's tables, in a schema of our own. {schema} is
-- replaced by its quoted name; it exists. No object is named mt_*: Marten's clean-up
-- drops those. One schema serves all the stores and tenants of a database.

create table {schema}.stores (
    id             uuid primary key default gen_random_uuid(),
    events_schema  text collate "C" not null,   -- of Marten's tables
    tenant         text collate "C" not null,   -- '' where the store has no tenants
    schema_version int not null default 1,
    created_at     timestamptz not null default now(),
    unique (events_schema, tenant)
);

-- scope is the id of the store. One row a subscription: its checkpoint, which is null
-- where there is none, and its lease, whose epoch is the checkpoint's too. Numbers are
-- what a Go uint64 can hold, for a checkpoint may be another store's.
create table {schema}.checkpoints (
    scope         uuid not null,
    name          text collate "C" not null,
    store_id      uuid,
    position_high numeric(20),
    position_low  numeric(20),
    stream_id     text collate "C",
    version       numeric(20),
    event_id      uuid,
    epoch         numeric(20) not null default 0,
    owner         text not null default '',
    renewals      numeric(20) not null default 0,
    ttl           bigint not null default 0,  -- in nanoseconds
    updated_at    timestamptz not null default now(),
    primary key (scope, name)
);

create table {schema}.snapshots (
    scope          uuid not null,
    stream_id      text collate "C" not null,
    snapshot_type  text collate "C" not null,
    version        bigint not null,
    schema_version bigint not null,
    data           bytea not null,
    updated_at     timestamptz not null default now(),
    primary key (scope, stream_id, snapshot_type)
);

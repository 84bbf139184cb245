-- Version 1 of the store. {schema} is replaced by the quoted name of the schema, which
-- exists. Everything here runs in one transaction, under the migration's lock.

create table {schema}.store (
    only_row       boolean primary key default true check (only_row),
    id             uuid not null default gen_random_uuid(),
    schema_version int not null,
    created_at     timestamptz not null default now()
);

-- Payloads are bytea because jsonb reorders keys, folds numbers and refuses
-- \u0000; the view event_log shows them as jsonb. Names compare as bytes: that is
-- what makes prefixes ranges, and it does not change with the server's locale.
create table {schema}.events (
    global_position bigint not null,
    version         bigint not null,
    id              uuid not null,
    created_at      timestamptz not null,
    stream_id       text collate "C" not null,
    event_type      text collate "C" not null,
    content_type    text,           -- null is application/json
    event_data      bytea not null,
    metadata        bytea,          -- a JSON object of strings; null is none
    constraint events_position primary key (global_position),
    constraint events_stream_version unique (stream_id, version),
    constraint events_id_in_stream unique (id, stream_id)
);

-- The expression is the category; a column would store it once more for every event.
create index events_category on {schema}.events (split_part(stream_id, '-', 1), global_position);
create index events_type on {schema}.events (event_type, global_position);
-- Time follows position, so a block range index answers at almost no cost.
create index events_time on {schema}.events using brin (created_at);

create table {schema}.checkpoints (
    name          text collate "C" primary key,
    store_id      uuid not null,
    position_high numeric(20) not null,
    position_low  numeric(20) not null,
    updated_at    timestamptz not null default now()
);

create table {schema}.snapshots (
    stream_id      text collate "C" not null,
    snapshot_type  text collate "C" not null,
    version        bigint not null,
    schema_version int not null,
    data           bytea not null,
    updated_at     timestamptz not null default now(),
    primary key (stream_id, snapshot_type)
);

-- Events are immutable, for the owner too. Grants keep everyone else out.
create function {schema}.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'events are immutable: % refused', tg_op using errcode = 'restrict_violation';
end $$;
create trigger immutable before update or delete or truncate on {schema}.events
    for each statement execute function {schema}.refuse_change();

-- lock_order takes the lock that orders the store: one advisory lock, named by
-- the events table, held to the end of the transaction. It is no row, because a
-- row that every append updates grows a chain of dead versions as long as any
-- old snapshot lives in the database. 1398231072 is "SWY " in ASCII.
create function {schema}.lock_order() returns void
language plpgsql
set lock_timeout = '10s'
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append in a % transaction: its snapshot is older than the lock; use read committed',
            current_setting('transaction_isolation') using errcode = 'active_sql_transaction';
    end if;
    perform pg_advisory_xact_lock((1398231072::bigint << 32) | '{schema}.events'::regclass::oid::bigint);
end $$;

-- append judges and writes a group of appends in its order. The first five
-- arrays have one element an append: its stream; the number of the first append
-- of the group to that stream; the versions between which it may be written;
-- how many events it has. The others have one element an event: the number of
-- its append, then its columns. An append is
--   written:  versions and positions hold those of its last event;
--   refused:  versions holds the stream's version, positions is null;
--   not judged, because its stream holds one of its event IDs: both are null.
--
-- The lock comes first. In read committed each statement after it sees all that
-- was committed before, so versions are checked and positions are taken where
-- nobody else can, until the commit makes them visible. Positions have no gaps.
create function {schema}.append(
    streams text[], firsts int[], lowest bigint[], highest bigint[], counts int[],
    appends int[], event_streams text[], ids uuid[], types text[], datas bytea[],
    content_types text[], metadatas bytea[], times timestamptz[],
    out versions bigint[], out positions bigint[])
language plpgsql
security definer
set search_path = {schema}, pg_temp
-- A plan made while the table was small must not outlive that.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    head     bigint;
    at       bigint;
    total    int := 0;
    current  bigint[];
    seen     int[];
    version_base  bigint[];
    position_base bigint[];
    recorded timestamptz;
begin
    perform lock_order();

    select coalesce(max(e.global_position), 0) into head from events e;
    current := array(select coalesce((select max(e.version) from events e where e.stream_id = s), 0)
                     from unnest(streams) s);
    -- A stream without events holds no IDs: those who make streams need not look.
    seen := array(select u.append from unnest(appends, ids, event_streams) u(append, id, stream)
                  where current[firsts[u.append]] > 0
                    and (select true from events e where e.id = u.id and e.stream_id = u.stream));
    versions := array_fill(null::bigint, array[cardinality(streams)]);
    positions := versions;
    version_base := versions;
    position_base := versions;
    for i in 1 .. cardinality(streams) loop
        at := current[firsts[i]];
        if i = any(seen) then
            null;
        elsif at between lowest[i] and highest[i] then
            -- base + the event's number in the group is its version or position
            version_base[i] := at - total;
            position_base[i] := head - total;
            at := at + counts[i];
            head := head + counts[i];
            current[firsts[i]] := at;
            positions[i] := head;
            versions[i] := at;
        else
            versions[i] := at;
        end if;
        total := total + counts[i];
    end loop;
    recorded := clock_timestamp();
    -- positions[…] is null where nothing is to be written
    insert into events (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
    select position_base[u.append] + u.n, version_base[u.append] + u.n, u.id, coalesce(u.at, recorded),
           u.stream, u.type, u.content_type, u.data, u.metadata
    from unnest(appends, event_streams, ids, types, datas, content_types, metadatas, times)
        with ordinality u(append, stream, id, type, data, content_type, metadata, at, n)
    where position_base[u.append] is not null;
end $$;

-- append_one is append for one event, the commonest append of all: the same steps
-- with less to set up, lock_order's included. Its verdict is append's, with nulls
-- for an event whose ID the stream holds.
create function {schema}.append_one(
    stream text, lowest bigint, highest bigint, event_id uuid, type text, data bytea,
    content text, meta bytea, recorded timestamptz,
    out at_version bigint, out at_position bigint)
language plpgsql
security definer
set search_path = {schema}, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '10s'
as $$
declare
    head    bigint;
    current bigint;
    met     boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        perform lock_order(); -- which says why not
    end if;
    perform pg_advisory_xact_lock((1398231072::bigint << 32) | '{schema}.events'::regclass::oid::bigint);
    select coalesce((select max(e.global_position) from events e), 0),
           coalesce((select max(e.version) from events e where e.stream_id = stream), 0),
           (select true from events e where e.id = event_id and e.stream_id = stream)
        into head, current, met;
    if met then
        return;
    end if;
    at_version := current;
    if current between lowest and highest then
        at_version := current + 1;
        at_position := head + 1;
        insert into events (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
        values (at_position, at_version, event_id, coalesce(recorded, clock_timestamp()), stream, type, content, data, meta);
    end if;
end $$;

-- as_jsonb is null where the bytes are no JSON that jsonb can hold.
create function {schema}.as_jsonb(data bytea) returns jsonb language plpgsql immutable as $$
begin
    return convert_from(data, 'UTF8')::jsonb;
exception when data_exception or character_not_in_repertoire then
    return null;
end $$;

-- event_log is for people who query by hand.
create view {schema}.event_log as
select global_position, stream_id, split_part(stream_id, '-', 1) as category, version, event_type, id, created_at,
       coalesce(content_type, 'application/json') as content_type,
       {schema}.as_jsonb(event_data) as event_data, {schema}.as_jsonb(metadata) as metadata,
       event_data as event_bytes
from {schema}.events;

revoke all on function {schema}.append, {schema}.append_one, {schema}.lock_order from public;

insert into {schema}.store (schema_version) values (1);

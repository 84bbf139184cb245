-- Version 1 of the store. {schema} is replaced by the quoted name of the schema, which
-- exists. Everything here runs in one transaction, under the migration's lock.

create table {schema}.store (
    only_row       boolean primary key default true check (only_row),
    id             uuid not null default gen_random_uuid(),
    schema_version int not null,
    seal_reason    text,           -- null is not sealed
    seal_epoch     bigint not null default 0, -- rises with each seal, and when one is lifted
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

-- One row a subscription: its checkpoint, which is null where there is none, and its
-- lease, whose epoch is the checkpoint's too. Numbers are what a Go uint64 can hold,
-- for a checkpoint may be another store's.
create table {schema}.checkpoints (
    name          text collate "C" primary key,
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
    updated_at    timestamptz not null default now()
);

create table {schema}.snapshots (
    stream_id      text collate "C" not null,
    snapshot_type  text collate "C" not null,
    version        bigint not null,
    schema_version bigint not null,
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

-- append judges and writes a group of appends in its order. ends has one element an
-- append: the number of its last part. The next arrays have one element a part: its
-- stream; the number of the first part of the group to that stream; the versions
-- between which it may be written; how many events it has, which is none where it only
-- checks its stream; and how many events of the group are before its own. The others
-- have one element an event: the number of its part, then its columns.
--
-- An append is written where each of its parts may be, the store is not sealed, and no
-- stream holds one of the event IDs that are for it: of what else that can mean, and of
-- what is wrong with an append that was not written, the caller judges, by what it is
-- told here. Of each part, versions holds its stream's version before it, and positions
-- the position before its first event, or null where its append was not written. met
-- holds the parts some of whose event IDs are in their streams. recorded is the record
-- time of the events that were given none, seal the reason of the store's seal, and
-- epoch the store's.
--
-- known is the epoch that the caller knew when it sent the appends. Where it is another
-- now, nothing is written: a call that was on its way while the store was sealed must
-- not land after the seal was lifted, for its caller may have been told of the seal.
--
-- A stream's version is its last event's and not max(version), which costs the planner
-- as little where most streams have one event, and then reads the whole of a long one.
--
-- The lock comes first: one advisory lock, named by the events table, held to the end
-- of the transaction. It is no row, because a row that every append updates grows a
-- chain of dead versions as long as any old snapshot lives in the database. 1398231072
-- is "SWY " in ASCII. In read committed each statement after the lock sees all that was
-- committed before, so the seal and the versions are checked and positions are taken
-- where nobody else can, until the commit makes them visible. Positions have no gaps.
--
-- Names in a function's text and in its settings are frozen text: after schemas were
-- renamed they may lead to another store. The type of an argument is no name, and stays
-- this schema's events table whatever that is called: hence the last one, which nobody
-- passes. The caller passes the OIDs of the events table that it opened and of its type.
-- A function that belongs to another table, as in a copy of the schema whose functions
-- still are the original's, raises SY001 and writes nothing. Where the names lead
-- elsewhere it takes its schema's present name from that type.
create function {schema}.append(
    table_oid bigint, type_oid bigint, known bigint, ends int[],
    streams text[], firsts int[], lowest bigint[], highest bigint[], counts int[], offsets int[],
    parts int[], event_streams text[], ids uuid[], types text[], datas bytea[],
    content_types text[], metadatas bytea[], times timestamptz[],
    out versions bigint[], out positions bigint[], out met int[], out recorded timestamptz, out seal text, out epoch bigint,
    place {schema}.events default null)
language plpgsql
security definer
-- What the body sets for itself ends with it, because of this line.
set search_path = {schema}, pg_temp
-- A plan made while the table was small must not outlive that.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '10s'
as $$
declare
    head     bigint;
    at       bigint;
    part     int := 1;
    current  bigint[];
    unsealed boolean;
    allowed  boolean;
    written  oid;
begin
    -- One expression, for each is compiled anew in each transaction, and a statement costs
    -- more still. Where it is not true, the next ones say why.
    if current_setting('transaction_isolation') = 'read committed'
        and pg_advisory_xact_lock((1398231072::bigint << 32) | table_oid) is not null
        and pg_typeof(place)::oid::bigint = type_oid and to_regclass('events')::oid::bigint = table_oid then
        null;
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append in a % transaction: its snapshot is older than the lock; use read committed',
            current_setting('transaction_isolation') using errcode = 'active_sql_transaction';
    elsif pg_typeof(place)::oid::bigint <> type_oid then
        raise exception 'append: the functions of this schema belong to another table than %', table_oid using errcode = 'SY001';
    else
        perform set_config('search_path', (
            select quote_ident(n.nspname) || ', pg_temp'
            from pg_type t join pg_class c on c.oid = t.typrelid join pg_namespace n on n.oid = c.relnamespace
            where t.oid = pg_typeof(place)), true);
    end if;

    select coalesce((select max(e.global_position) from events e), 0),
           array(select coalesce((select e.version from events e where e.stream_id = n order by e.version desc limit 1), 0) from unnest(streams) n)
        into head, current;
    select s.seal_reason, s.seal_epoch into seal, epoch from store s where s.only_row;
    unsealed := seal is null and epoch = known;
    -- A stream without events holds no IDs: those who make streams need not look.
    if 0 < any(current) then
        met := array(select u.part from unnest(parts, ids, event_streams) u(part, id, stream)
                     where current[firsts[u.part]] > 0
                       and (select true from events e where e.id = u.id and e.stream_id = u.stream));
    end if;
    for append in 1 .. cardinality(ends) loop
        if ends[append] = part then -- it has one part, as most have
            at := current[firsts[part]];
            versions[part] := at;
            positions[part] := null;
            if unsealed and at between lowest[part] and highest[part] and part = any(met) is not true then
                positions[part] := head;
                head := head + counts[part];
                current[firsts[part]] := at + counts[part];
            end if;
            part := part + 1;
            continue;
        end if;
        allowed := unsealed;
        for p in part .. ends[append] loop
            at := current[firsts[p]];
            versions[p] := at;
            positions[p] := null;
            current[firsts[p]] := at + counts[p];
            if at < lowest[p] or at > highest[p] or p = any(met) then
                allowed := false;
            end if;
        end loop;
        if allowed then
            for p in part .. ends[append] loop
                positions[p] := head;
                head := head + counts[p];
            end loop;
        else
            for p in reverse ends[append] .. part loop
                current[firsts[p]] := versions[p];
            end loop;
        end if;
        part := ends[append] + 1;
    end loop;
    recorded := clock_timestamp();
    with inserted as (
        insert into events (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
        -- positions[…] is null where nothing is to be written
        select positions[u.part] + u.n - offsets[u.part], versions[u.part] + u.n - offsets[u.part], u.id, coalesce(u.at, recorded),
               u.stream, u.type, u.content_type, u.data, u.metadata
        from unnest(parts, event_streams, ids, types, datas, content_types, metadatas, times)
            with ordinality u(part, stream, id, type, data, content_type, metadata, at, n)
        where positions[u.part] is not null
        returning tableoid)
    select max(i.tableoid) into written from inserted i;
    if written <> table_oid::oid then
        raise exception 'append: the schema was renamed meanwhile' using errcode = 'SY001';
    end if;
end $$;

-- append_one is append for one event to one stream, the commonest append of all, with
-- values in place of arrays: each array takes client and server longer than a value
-- (`switchyard bench`, 1×1). Its verdict is append's: at_position is null where the event
-- was not written, met is true where its stream holds its ID.
create function {schema}.append_one(
    table_oid bigint, type_oid bigint, known bigint,
    stream text, lowest bigint, highest bigint, event_id uuid, type text, data bytea, content text, meta bytea, given timestamptz,
    out at_version bigint, out at_position bigint, out met boolean, out recorded timestamptz, out seal text, out epoch bigint,
    place {schema}.events default null)
language plpgsql
security definer
set search_path = {schema}, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '10s'
as $$
declare
    head    bigint;
    written oid;
begin
    -- The lock and what append checks at its beginning.
    if current_setting('transaction_isolation') = 'read committed'
        and pg_advisory_xact_lock((1398231072::bigint << 32) | table_oid) is not null
        and pg_typeof(place)::oid::bigint = type_oid and to_regclass('events')::oid::bigint = table_oid then
        null;
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append in a % transaction: its snapshot is older than the lock; use read committed',
            current_setting('transaction_isolation') using errcode = 'active_sql_transaction';
    elsif pg_typeof(place)::oid::bigint <> type_oid then
        raise exception 'append: the functions of this schema belong to another table than %', table_oid using errcode = 'SY001';
    else
        perform set_config('search_path', (
            select quote_ident(n.nspname) || ', pg_temp'
            from pg_type t join pg_class c on c.oid = t.typrelid join pg_namespace n on n.oid = c.relnamespace
            where t.oid = pg_typeof(place)), true);
    end if;

    select coalesce((select max(e.global_position) from events e), 0),
           coalesce((select e.version from events e where e.stream_id = stream order by e.version desc limit 1), 0),
           (select true from events e where e.id = event_id and e.stream_id = stream)
        into head, at_version, met;
    -- A statement of its own: joined to the one before, it takes longer (`switchyard bench`, 1×1).
    select s.seal_reason, s.seal_epoch into seal, epoch from store s where s.only_row;
    if met is null and seal is null and epoch = known and at_version between lowest and highest then
        recorded := coalesce(given, clock_timestamp());
        at_position := head;
        insert into events as i (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
        values (head + 1, at_version + 1, event_id, recorded, stream, append_one.type, content, data, meta)
        returning i.tableoid into written;
        if written <> table_oid::oid then
            raise exception 'append: the schema was renamed meanwhile' using errcode = 'SY001';
        end if;
    end if;
end $$;

-- seal seals the store, or lifts its seal where reason is null, under the lock that
-- orders appends: every append is before the seal or meets it. The first reason stays.
create function {schema}.seal(table_oid bigint, type_oid bigint, reason text, place {schema}.events default null) returns void
language plpgsql
security definer
set search_path = {schema}, pg_temp
set lock_timeout = '10s'
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'seal in a % transaction: its snapshot is older than the lock; use read committed',
            current_setting('transaction_isolation') using errcode = 'active_sql_transaction';
    end if;
    perform pg_advisory_xact_lock((1398231072::bigint << 32) | table_oid);
    if pg_typeof(place)::oid::bigint <> type_oid then
        raise exception 'seal: the functions of this schema belong to another table than %', table_oid using errcode = 'SY001';
    end if;
    if to_regclass('events')::oid::bigint is distinct from table_oid then
        perform set_config('search_path', (
            select quote_ident(n.nspname) || ', pg_temp'
            from pg_type t join pg_class c on c.oid = t.typrelid join pg_namespace n on n.oid = c.relnamespace
            where t.oid = pg_typeof(place)), true);
    end if;
    update store set seal_reason = reason, seal_epoch = seal_epoch + 1 where only_row and (seal_reason is null) <> (reason is null);
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

revoke all on function {schema}.append, {schema}.append_one, {schema}.seal from public;

insert into {schema}.store (schema_version) values (1);

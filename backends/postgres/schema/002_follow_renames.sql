-- Version 2: the functions follow their schema when it is renamed.
--
-- Names in a function's text and in its settings are frozen text: after two schemas
-- were swapped, version 1's functions wrote to the other store. The type of an
-- argument is no name: it stays this schema's events table whatever that is called.
-- So each function takes its schema's present name from the type of its last
-- argument, which nobody passes. The caller passes the OID of the events table that
-- it opened, and a function that finds itself at another one, as in a copy of the
-- schema whose functions still belong to the original, raises SY001 and writes nothing.

alter function {schema}.lock_order rename to lock_order_1;
alter function {schema}.append rename to append_1;
alter function {schema}.append_one rename to append_one_1;

-- lock_order takes the lock that orders the store: one advisory lock, named by the
-- events table, held to the end of the transaction. It is no row, because a row that
-- every append updates grows a chain of dead versions as long as any old snapshot
-- lives in the database. 1398231072 is "SWY " in ASCII.
create function {schema}.lock_order(table_oid bigint, place {schema}.events default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '10s'
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append in a % transaction: its snapshot is older than the lock; use read committed',
            current_setting('transaction_isolation') using errcode = 'active_sql_transaction';
    end if;
    perform pg_advisory_xact_lock((1398231072::bigint << 32) | table_oid);
    -- after the lock, which may have been waited for
    if to_regclass(pg_typeof(place)::text)::oid::bigint is distinct from table_oid then
        raise exception 'append: the functions of this schema belong to another table than %', table_oid using errcode = 'SY001';
    end if;
end $$;

-- append is version 1's, in the schema that its last argument names.
create function {schema}.append(
    table_oid bigint, streams text[], firsts int[], lowest bigint[], highest bigint[], counts int[],
    appends int[], event_streams text[], ids uuid[], types text[], datas bytea[],
    content_types text[], metadatas bytea[], times timestamptz[],
    out versions bigint[], out positions bigint[], place {schema}.events default null)
language plpgsql
security definer
-- What the body sets for itself ends with it, because of this line.
set search_path = pg_catalog, pg_temp
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
    strays   bigint;
    version_base  bigint[];
    position_base bigint[];
    recorded timestamptz;
begin
    perform set_config('search_path', left(pg_typeof(place)::text, -length('.events')) || ', pg_temp', true);
    perform lock_order(table_oid);

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
    with written as (
        insert into events (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
        select position_base[u.append] + u.n, version_base[u.append] + u.n, u.id, coalesce(u.at, recorded),
               u.stream, u.type, u.content_type, u.data, u.metadata
        from unnest(appends, event_streams, ids, types, datas, content_types, metadatas, times)
            with ordinality u(append, stream, id, type, data, content_type, metadata, at, n)
        where position_base[u.append] is not null
        returning tableoid)
    select count(*) into strays from written where tableoid <> table_oid::oid;
    if strays > 0 then
        raise exception 'append: the schema was renamed meanwhile' using errcode = 'SY001';
    end if;
end $$;

-- append_one is version 1's, in the schema that its last argument names.
create function {schema}.append_one(
    table_oid bigint, stream text, lowest bigint, highest bigint, event_id uuid, type text, data bytea,
    content text, meta bytea, recorded timestamptz,
    out at_version bigint, out at_position bigint, place {schema}.events default null)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '10s'
as $$
declare
    head    bigint;
    current bigint;
    met     boolean;
    written oid;
begin
    perform set_config('search_path', left(pg_typeof(place)::text, -length('.events')) || ', pg_temp', true);
    if current_setting('transaction_isolation') <> 'read committed' then
        perform lock_order(table_oid); -- which says why not
    end if;
    perform pg_advisory_xact_lock((1398231072::bigint << 32) | table_oid);
    if to_regclass('events')::oid::bigint is distinct from table_oid then
        perform lock_order(table_oid); -- which says why not
        raise exception 'append: the schema was renamed meanwhile' using errcode = 'SY001';
    end if;
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
        values (at_position, at_version, event_id, coalesce(recorded, clock_timestamp()), stream, type, content, data, meta)
        returning tableoid into written;
        if written <> table_oid::oid then
            raise exception 'append: the schema was renamed meanwhile' using errcode = 'SY001';
        end if;
    end if;
end $$;

revoke all on function {schema}.append, {schema}.append_one, {schema}.lock_order from public;

-- The new functions belong to whom the old ones did, who need not be the role that
-- migrates, and whoever was granted the old ones may call the new ones.
do $$
declare
    replaced record;
    granted  record;
begin
    for replaced in
        select o.oid::regprocedure as old, n.oid::regprocedure as new, o.proowner::regrole as owner, o.proacl as acl
        from pg_proc o join pg_proc n on n.pronamespace = o.pronamespace and n.proname || '_1' = o.proname
        where o.pronamespace = '{schema}'::regnamespace
    loop
        execute format('alter function %s owner to %s', replaced.new, replaced.owner);
        for granted in
            select case grantee when 0 then 'public' else grantee::regrole::text end as grantee, is_grantable
            from aclexplode(replaced.acl) where privilege_type = 'EXECUTE' and grantee::regrole <> replaced.owner
        loop
            execute format('grant execute on function %s to %s %s', replaced.new, granted.grantee,
                case when granted.is_grantable then 'with grant option' else '' end);
        end loop;
        execute format('drop function %s', replaced.old);
    end loop;
end $$;

update {schema}.store set schema_version = 2;

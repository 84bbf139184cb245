-- Version 3: one function judges and writes every append, in one call.
--
-- Version 2 had one for a single event and one for the rest, and appends to several
-- streams and repetitions were judged by the client between two calls, which held the
-- lock for as long as the client took: a client that stopped there stopped all others.

alter function {schema}.append rename to append_2;

-- append judges and writes a group of appends in its order. ends has one element an
-- append: the number of its last part. The next arrays have one element a part: its
-- stream; the number of the first part of the group to that stream; the versions
-- between which it may be written; how many events it has, which is none where it only
-- checks its stream. The others have one element an event: the number of its part,
-- then its columns.
--
-- An append is written where each of its parts may be, and no stream holds one of the
-- event IDs that are for it: of what else that can mean, and of what is wrong with an
-- append that was not written, the caller judges, by what it is told here. Of each
-- part, versions holds its stream's version before it, and positions the position
-- before its first event, or null where its append was not written. met holds the parts
-- some of whose event IDs are in their streams. recorded is the record time of the
-- events that were given none.
--
-- The lock comes first: one advisory lock, named by the events table, held to the end
-- of the transaction. It is no row, because a row that every append updates grows a
-- chain of dead versions as long as any old snapshot lives in the database. 1398231072
-- is "SWY " in ASCII. In read committed each statement after the lock sees all that was
-- committed before, so versions are checked and positions are taken where nobody else
-- can, until the commit makes them visible. Positions have no gaps.
--
-- The schema is the one that the type of place belongs to; see version 2.
create function {schema}.append(
    table_oid bigint, ends int[],
    streams text[], firsts int[], lowest bigint[], highest bigint[], counts int[],
    parts int[], event_streams text[], ids uuid[], types text[], datas bytea[],
    content_types text[], metadatas bytea[], times timestamptz[],
    out versions bigint[], out positions bigint[], out met int[], out recorded timestamptz,
    place {schema}.events default null)
language plpgsql
security definer
-- What the body sets for itself ends with it, because of this line.
set search_path = pg_catalog, pg_temp
-- A plan made while the table was small must not outlive that.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '10s'
-- The body reads a name that this would write otherwise.
set quote_all_identifiers = off
as $$
declare
    head     bigint;
    at       bigint;
    part     int := 1;
    total    int := 0;
    current  bigint[];
    allowed  boolean;
    writes   boolean := false;
    written  oid;
    version_base  bigint[];
    position_base bigint[];
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append in a % transaction: its snapshot is older than the lock; use read committed',
            current_setting('transaction_isolation') using errcode = 'active_sql_transaction';
    end if;
    perform set_config('search_path', left(pg_typeof(place)::text, -length('.events')) || ', pg_temp', true);
    perform pg_advisory_xact_lock((1398231072::bigint << 32) | table_oid);
    if to_regclass('events')::oid::bigint is distinct from table_oid then
        raise exception 'append: the functions of this schema belong to another table than %', table_oid using errcode = 'SY001';
    end if;

    select coalesce((select max(e.global_position) from events e), 0),
           array(select coalesce((select max(e.version) from events e where e.stream_id = s), 0) from unnest(streams) s)
        into head, current;
    -- A stream without events holds no IDs: those who make streams need not look.
    if 0 < any(current) then
        met := array(select u.part from unnest(parts, ids, event_streams) u(part, id, stream)
                     where current[firsts[u.part]] > 0
                       and (select true from events e where e.id = u.id and e.stream_id = u.stream));
    end if;
    for append in 1 .. cardinality(ends) loop
        allowed := true;
        for p in part .. ends[append] loop
            at := current[firsts[p]];
            versions[p] := at;
            current[firsts[p]] := at + counts[p];
            if at < lowest[p] or at > highest[p] or p = any(met) then
                allowed := false;
            end if;
        end loop;
        if not allowed then
            for p in reverse ends[append] .. part loop
                current[firsts[p]] := versions[p];
            end loop;
        end if;
        for p in part .. ends[append] loop
            positions[p] := case when allowed then head end;
            -- base + the event's number in the group is its version or position
            version_base[p] := versions[p] - total;
            position_base[p] := positions[p] - total;
            total := total + counts[p];
            if allowed then
                head := head + counts[p];
            end if;
        end loop;
        writes := writes or allowed;
        part := ends[append] + 1;
    end loop;
    if not writes then
        return;
    end if;
    recorded := clock_timestamp();
    if cardinality(ids) = 1 then -- the commonest append of all
        insert into events (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
        values (position_base[parts[1]] + 1, version_base[parts[1]] + 1, ids[1], coalesce(times[1], recorded),
                event_streams[1], types[1], content_types[1], datas[1], metadatas[1])
        returning tableoid into written;
    else
        with inserted as (
            insert into events (global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata)
            -- position_base[…] is null where nothing is to be written
            select position_base[u.part] + u.n, version_base[u.part] + u.n, u.id, coalesce(u.at, recorded),
                   u.stream, u.type, u.content_type, u.data, u.metadata
            from unnest(parts, event_streams, ids, types, datas, content_types, metadatas, times)
                with ordinality u(part, stream, id, type, data, content_type, metadata, at, n)
            where position_base[u.part] is not null
            returning tableoid)
        select max(i.tableoid) into written from inserted i;
    end if;
    if written <> table_oid::oid then
        raise exception 'append: the schema was renamed meanwhile' using errcode = 'SY001';
    end if;
end $$;

revoke all on function {schema}.append from public;

-- The function belongs to whom the old one did, who need not be the role that migrates,
-- and whoever was granted the old one may call it.
do $$
declare
    old     oid := '{schema}.append_2'::regproc;
    new     regprocedure := '{schema}.append'::regproc::oid;
    granted record;
begin
    execute format('alter function %s owner to %s', new, (select proowner::regrole from pg_proc where oid = old));
    for granted in
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee, a.is_grantable
        from pg_proc p, aclexplode(p.proacl) a where p.oid = old and a.privilege_type = 'EXECUTE' and a.grantee <> p.proowner
    loop
        execute format('grant execute on function %s to %s %s', new, granted.grantee,
            case when granted.is_grantable then 'with grant option' else '' end);
    end loop;
end $$;
drop function {schema}.append_2, {schema}.append_one, {schema}.lock_order;

update {schema}.store set schema_version = 3;

-- Roles, databases and the schema that Streamgauge needs in a Postgres, as platform/streamgauge/stack/postgres.py makes them
-- in the local stack. `streamgauge apply` makes what is inside. Run once, as a superuser or the provider's administrator:
--   psql -v ON_ERROR_STOP=1 -v admin=… -v worker=… -v batch=… -v api=… -v reader=… -v registry=… -v dagster=… -f roles.sql
-- with a password for each login; the database `streamgauge` must exist.
create role streamgauge_admin login password :'admin';
create role streamgauge_worker login password :'worker';
create role streamgauge_batch login password :'batch';
create role streamgauge_api login password :'api';
create role streamgauge_reader login password :'reader';
create role registry login password :'registry';
-- A provider's administrator is no superuser: it may give a database only to a role that it is a member of.
grant registry to current_user;
create database registry owner registry;
revoke connect, temporary on database registry from public;
create role dagster login password :'dagster';
grant dagster to current_user;
create database dagster owner dagster;
revoke connect, temporary on database dagster from public;
grant streamgauge_admin to current_user;
alter database streamgauge owner to streamgauge_admin;
revoke connect, temporary on database streamgauge from public;
grant connect on database streamgauge to streamgauge_admin, streamgauge_worker, streamgauge_batch, streamgauge_api,
  streamgauge_reader;
\connect streamgauge
select exists (select from pg_available_extensions where name = 'timescaledb') as has_timescaledb \gset
\if :has_timescaledb
create extension if not exists timescaledb;
\endif
create schema streamgauge authorization streamgauge_admin;

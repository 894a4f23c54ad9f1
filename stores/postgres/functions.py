"""Functions of SQLite that the statements of a store use, written for PostgreSQL."""

from __future__ import annotations

FUNCTIONS = (
    """CREATE FUNCTION hex(BYTEA) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN upper(encode($1, 'hex'))""",
    """CREATE FUNCTION instr(TEXT, TEXT) RETURNS INTEGER LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN strpos($1, $2)""",
    """CREATE FUNCTION datetime(BIGINT, TEXT) RETURNS TEXT LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN to_char(to_timestamp($1) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')""",
    """CREATE FUNCTION date(BIGINT, TEXT) RETURNS TEXT LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN to_char(to_timestamp($1) AT TIME ZONE 'UTC', 'YYYY-MM-DD')""",
    """CREATE FUNCTION strftime(TEXT, BIGINT, TEXT) RETURNS TEXT
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN to_char(to_timestamp($2) AT TIME ZONE 'UTC', CASE $1
        WHEN '%Y-%m-%d' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM-DD"T"HH24:MI:SS' END)""",
    """CREATE FUNCTION round(DOUBLE PRECISION, INTEGER) RETURNS DOUBLE PRECISION
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN round($1::numeric, $2)::float8""",
    """CREATE FUNCTION add_true(BIGINT, BOOLEAN) RETURNS BIGINT
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN $2 IS NULL THEN $1 ELSE coalesce($1, 0) + $2::int END""",
    """CREATE FUNCTION add_counts(BIGINT, BIGINT) RETURNS BIGINT
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN $2 IS NULL THEN $1 ELSE coalesce($1, 0) + $2 END""",
    """CREATE AGGREGATE sum(BOOLEAN) (
    SFUNC = add_true, STYPE = BIGINT, COMBINEFUNC = add_counts, PARALLEL = SAFE)""",
    """CREATE FUNCTION add_text(TEXT, TEXT, TEXT) RETURNS TEXT
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN $2 IS NULL THEN $1 WHEN $1 IS NULL THEN $2 ELSE $1 || $3 || $2 END""",
    """CREATE AGGREGATE group_concat(TEXT, TEXT) (SFUNC = add_text, STYPE = TEXT)""",
    """CREATE FUNCTION json_each(TEXT) RETURNS TABLE (value TEXT)
    LANGUAGE sql IMMUTABLE STRICT ROWS 10 RETURN jsonb_array_elements_text($1::jsonb)""",
    """CREATE FUNCTION pragma_table_info(TEXT) RETURNS TABLE (name TEXT)
    LANGUAGE sql STABLE STRICT ROWS 10 AS $$
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum $$""",
    """CREATE FUNCTION count_blobs() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN PERFORM setval('blob_number', greatest((SELECT max(id) FROM blob), 1)); RETURN NULL; END
    $$""",
    """CREATE TRIGGER blob_counted AFTER INSERT ON blob
    FOR EACH STATEMENT EXECUTE FUNCTION count_blobs()""",
    """CREATE VIEW sqlite_sequence AS SELECT 'blob'::text AS name, last_value AS seq
    FROM blob_number WHERE is_called""",
    """CREATE VIEW log AS SELECT 0::bigint AS id, ''::bytea AS events, ''::text AS problem
    WHERE false""",
    """CREATE VIEW sqlite_master AS SELECT relname::text AS name,
    CASE relkind WHEN 'r' THEN 'table' ELSE 'view' END AS type FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')""",
)

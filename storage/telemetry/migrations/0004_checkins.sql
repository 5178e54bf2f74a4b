-- Check-ins of scheduled jobs, as they came: a run is put together when it is read.
-- status is that of proto/telemetrypb; exit_code is -1 where there is none; run_id is zero where
-- the sender has none.
CREATE TABLE IF NOT EXISTS checkins (
    project_id  UInt32 CODEC(ZSTD(1)),
    day         Date CODEC(ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    slug        LowCardinality(String) CODEC(ZSTD(1)),
    ts          DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    received_ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    status      UInt8 CODEC(ZSTD(1)),
    checkin_id  FixedString(16) CODEC(ZSTD(1)),
    run_id      FixedString(16) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    release     LowCardinality(String) CODEC(ZSTD(1)),
    duration_ms UInt64 CODEC(ZSTD(1)),
    exit_code   Int64 CODEC(ZSTD(1)),
    source      LowCardinality(String) CODEC(ZSTD(1)),
    body        String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree
PARTITION BY (retention_days, if(retention_days < 30, day, toMonday(day)), ts < toDateTime64(0, 9, 'UTC'))
ORDER BY (project_id, slug, ts, checkin_id, status)
TTL day + toIntervalDay(retention_days + 1) DELETE
SETTINGS ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 1000;

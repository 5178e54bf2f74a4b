-- Error events. An event that is sent twice under one id is merged into one in the end; until then
-- reads count ids, not rows. day and the partition are as in logs, but what is kept for a month or
-- longer is parted by weeks, since errors are few: it goes with the last day of its week.
CREATE TABLE IF NOT EXISTS error_events (
    project_id       UInt32 CODEC(ZSTD(1)),
    day              Date CODEC(ZSTD(1)),
    retention_days   UInt16 CODEC(ZSTD(1)),
    issue_id         UInt64 CODEC(ZSTD(1)),
    event_id         FixedString(16) CODEC(ZSTD(1)),
    ts               DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    received_ts      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    grouping_version UInt16 CODEC(ZSTD(1)),
    level            LowCardinality(String) CODEC(ZSTD(1)),
    platform         LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    release          LowCardinality(String) CODEC(ZSTD(1)),
    type             LowCardinality(String) CODEC(ZSTD(1)),
    value            String CODEC(ZSTD(1)),
    title            String CODEC(ZSTD(1)),
    culprit          String CODEC(ZSTD(1)),
    transaction      LowCardinality(String) CODEC(ZSTD(1)),
    server_name      LowCardinality(String) CODEC(ZSTD(1)),
    user_id          String CODEC(ZSTD(1)),
    trace_id         FixedString(16) CODEC(ZSTD(1)),
    tags             Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    payload          String CODEC(ZSTD(3)),
    INDEX ix_event event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX ix_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY (retention_days, if(retention_days < 30, day, toMonday(day)), ts < toDateTime64(0, 9, 'UTC'))
ORDER BY (project_id, issue_id, ts, event_id)
TTL day + toIntervalDay(retention_days + 1) DELETE
SETTINGS ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 1000;

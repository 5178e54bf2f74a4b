-- What is known of each series on each day: a row for each time that the writer noted it, merged
-- into one. first_seen and last_seen are the ends of what was noted; a series that goes on is
-- noted again every few minutes, so last_seen may be that much behind.
CREATE TABLE IF NOT EXISTS metric_series (
    project_id  UInt32 CODEC(ZSTD(1)),
    day         Date CODEC(ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    metric      LowCardinality(String) CODEC(ZSTD(1)),
    fp          UInt64 CODEC(ZSTD(1)),
    labels      SimpleAggregateFunction(anyLast, Map(String, String)) CODEC(ZSTD(1)),
    kind        SimpleAggregateFunction(anyLast, UInt8) CODEC(ZSTD(1)),
    unit        SimpleAggregateFunction(anyLast, String) CODEC(ZSTD(1)),
    source_name SimpleAggregateFunction(anyLast, String) CODEC(ZSTD(1)),
    description SimpleAggregateFunction(anyLast, String) CODEC(ZSTD(1)),
    first_seen  SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY (retention_days, day, first_seen < toDateTime64(0, 3, 'UTC'), last_seen < toDateTime64(0, 3, 'UTC'))
ORDER BY (project_id, metric, fp)
TTL day + toIntervalDay(retention_days + 1) DELETE
SETTINGS ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Samples. day and the partition are as in logs.
CREATE TABLE IF NOT EXISTS metric_samples (
    project_id UInt32 CODEC(ZSTD(1)),
    day        Date CODEC(ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    metric     LowCardinality(String) CODEC(ZSTD(1)),
    fp         UInt64 CODEC(ZSTD(1)),
    ts         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value      Float64 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (retention_days, day, ts < toDateTime64(0, 3, 'UTC'))
ORDER BY (project_id, metric, fp, ts)
TTL day + toIntervalDay(retention_days + 1) DELETE
SETTINGS ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 1000;

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
--
-- A value is kept as an integer and the number of its decimals: 20.04 is 2004 and 2. What a double
-- is the nearest to is found again exactly by the division. What is no such number (NaN, or a
-- fraction without an end) has the scale 255 and its bits as the mantissa. Differences of integers
-- have few bits, which T64 lays side by side: half of what Float64 with any codec takes, and a tenth
-- less even where the mantissas are random.
CREATE TABLE IF NOT EXISTS metric_samples (
    project_id UInt32 CODEC(ZSTD(1)),
    day        Date CODEC(ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    metric     LowCardinality(String) CODEC(ZSTD(1)),
    fp         UInt64 CODEC(ZSTD(1)),
    ts         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    mantissa   Int64 CODEC(Delta, T64('bit'), ZSTD(1)),
    scale      UInt8 CODEC(ZSTD(1)),
    value      Float64 ALIAS if(scale = 255, reinterpretAsFloat64(mantissa), mantissa / exp10(scale))
) ENGINE = MergeTree
PARTITION BY (retention_days, day, ts < toDateTime64(0, 3, 'UTC'))
ORDER BY (project_id, metric, fp, ts)
TTL day + toIntervalDay(retention_days + 1) DELETE
SETTINGS ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 1000;

-- Log records.
--
-- day is the day of ts, or the nearest one that was in use when the record was received. It names
-- the partition together with retention_days, which the project had chosen when the record was
-- accepted: whole partitions go, once the last record of the day is as old as that. That is the
-- end of the day, hence the one more in TTL. That ts takes part in the partition's key
-- (as a constant) makes the engine keep the range of ts of each part, by which reads leave out
-- parts.
--
-- The order makes the newest records of a project the cheapest read, and pages exact. The text
-- index is on an expression, not on the column with a preprocessor: the latter changes what a
-- search finds where a part has no index yet.
--
-- Codecs and filters are chosen by measurement on lines of web services. Once a part has been
-- merged the values of an attribute lie together (a Map with buckets): 40 % smaller, and one key is
-- read without the others. From level 5 on zstd finds what bodies have in common. A filter that lets
-- one granule of 10 pass in vain is half the size of one that lets one of 100.
--
-- What was inserted has to outlive a power cut, since the bus forgets it then: this table and the
-- others ask for fsync themselves, whatever the server is configured to do.
CREATE TABLE IF NOT EXISTS logs (
    project_id    UInt32 CODEC(ZSTD(1)),
    day           Date CODEC(ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    ts            DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    id            UInt64 CODEC(Delta, T64, ZSTD(1)),
    observed_ts   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    service       LowCardinality(String) CODEC(ZSTD(1)),
    severity      UInt8 CODEC(ZSTD(1)),
    severity_text LowCardinality(String) CODEC(ZSTD(1)),
    scope         LowCardinality(String) CODEC(ZSTD(1)),
    body          String CODEC(ZSTD(5)),
    attributes    Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    resource      LowCardinality(String) CODEC(ZSTD(1)),
    trace_id      FixedString(16) CODEC(ZSTD(1)),
    span_id       FixedString(8) CODEC(ZSTD(1)),
    INDEX ix_body lowerUTF8(body) TYPE text(tokenizer = splitByNonAlpha),
    INDEX ix_attribute_keys mapKeys(attributes) TYPE bloom_filter(0.1) GRANULARITY 1,
    INDEX ix_attribute_values mapValues(attributes) TYPE bloom_filter(0.1) GRANULARITY 1,
    INDEX ix_trace trace_id TYPE bloom_filter(0.1) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY (retention_days, day, ts < toDateTime64(0, 9, 'UTC'))
ORDER BY (project_id, ts, id)
TTL day + toIntervalDay(retention_days + 1) DELETE
SETTINGS map_serialization_version = 'with_buckets', map_serialization_version_for_zero_level_parts = 'with_buckets',
    map_buckets_strategy = 'linear', map_buckets_coefficient = 2, map_buckets_min_avg_size = 0,
    text_index_posting_list_codec = 'bitpacking',
    ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 1000;

package telemetrypb

import "google.golang.org/protobuf/encoding/protowire"

// The tags of fields of telemetry.proto, for those who write and read frames of logs and metrics by
// hand. All fit into a byte.
const (
	varint  = byte(protowire.VarintType)
	fixed64 = byte(protowire.Fixed64Type)
	bytes   = byte(protowire.BytesType)

	// Of LogFrame and MetricFrame.
	TagFrameBatches = 1<<3 | bytes

	// Of LogBatch and MetricBatch.
	TagBatchProject   = 1<<3 | varint
	TagBatchReceived  = 2<<3 | fixed64
	TagBatchRetention = 3<<3 | varint
	TagBatchItems     = 4<<3 | bytes // groups or metrics

	// Of LogGroup.
	TagGroupService  = 1<<3 | bytes
	TagGroupScope    = 2<<3 | bytes
	TagGroupResource = 3<<3 | bytes
	TagGroupRecords  = 4<<3 | bytes

	// Of LogRecord.
	TagRecordTime         = 1<<3 | fixed64
	TagRecordObservedTime = 2<<3 | fixed64
	TagRecordSeverity     = 3<<3 | varint
	TagRecordSeverityText = 4<<3 | bytes
	TagRecordBody         = 5<<3 | bytes
	TagRecordAttributes   = 6<<3 | bytes
	TagRecordTraceID      = 7<<3 | bytes
	TagRecordSpanID       = 8<<3 | bytes

	// Of Metric.
	TagMetricName        = 1<<3 | bytes
	TagMetricSourceName  = 2<<3 | bytes
	TagMetricUnit        = 3<<3 | bytes
	TagMetricDescription = 4<<3 | bytes
	TagMetricKind        = 5<<3 | varint
	TagMetricSeries      = 6<<3 | bytes

	// Of Series.
	TagSeriesFingerprint = 1<<3 | fixed64
	TagSeriesLabels      = 2<<3 | bytes
	TagSeriesTimes       = 3<<3 | bytes // packed
	TagSeriesValues      = 4<<3 | bytes // packed

	// Of KeyValue.
	TagKey   = 1<<3 | bytes
	TagValue = 2<<3 | bytes
)

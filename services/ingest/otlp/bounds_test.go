package otlp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
)

// scopes is a request with one record in each of n scopes of a resource of 60 KB.
func scopes(n int, name func(int) string) *collogspb.ExportLogsServiceRequest {
	resource := new(resourcepb.Resource)
	for i := range 8 {
		resource.Attributes = append(resource.Attributes, &commonpb.KeyValue{Key: fmt.Sprint("k", i), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.Repeat("x", 7500)}}})
	}
	rl := &logspb.ResourceLogs{Resource: resource}
	for i := range n {
		rl.ScopeLogs = append(rl.ScopeLogs, &logspb.ScopeLogs{Scope: &commonpb.InstrumentationScope{Name: name(i)}, LogRecords: []*logspb.LogRecord{{}}})
	}
	return &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{rl, rl}}
}

func TestGroupsOfTheSameWordsAreMerged(t *testing.T) {
	t.Parallel()
	groups, r := Logs(scopes(2000, func(i int) string { return fmt.Sprint(i % 2) }), window())
	if len(groups) != 2 || len(groups[0].Records) != 2000 || len(groups[1].Records) != 2000 || r.Count != 0 {
		t.Errorf("%d groups, %s", len(groups), r.Message())
	}
}

func TestGroupsBeyondTheBoundAreRejected(t *testing.T) {
	t.Parallel()
	groups, r := Logs(scopes(2000, func(i int) string { return fmt.Sprint(i) }), window())
	size := 0
	for _, g := range groups {
		size += sizeOf(g.Resource)
	}
	if size > maxOutputBytes || r.ByReason["too_large"] < 1000 || !strings.Contains(r.Message(), "more than 64 MiB") {
		t.Errorf("%d bytes, %v, %s", size, r.ByReason, r.Message())
	}
}

func TestScanCountsNestedMessages(t *testing.T) {
	t.Parallel()
	m := new(collogspb.ExportLogsServiceRequest).ProtoReflect().Descriptor()
	if err := Scan([]byte(strings.Repeat("\x0a\x00", maxMessages)), m); err != nil {
		t.Error(err)
	}
	for _, body := range []string{
		strings.Repeat("\x0a\x00", maxMessages+1),
		strings.Repeat("\x0a\x02\x12\x00", maxMessages/2+1),
	} {
		if err := Scan([]byte(body), m); !errors.Is(err, ErrTooManyMessages) {
			t.Error(err)
		}
	}
}

package sentry

import (
	"testing"

	"google.golang.org/protobuf/proto"
)

// checkUTF8 fails where a message has a string that protobuf refuses.
func checkUTF8(t *testing.T, m proto.Message) {
	t.Helper()
	if _, err := proto.Marshal(m); err != nil {
		t.Fatalf("marshal: %v", err)
	}
}

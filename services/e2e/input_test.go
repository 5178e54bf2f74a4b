package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestBadInputIsNamedAndNothingElseSuffers sends what is broken in each protocol.
func TestBadInputIsNamedAndNothingElseSuffers(t *testing.T) {
	s := up(t)
	large := bytes.Repeat([]byte(" "), 17<<20)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 4 {
		if _, err := z.Write(large); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	const bearer, sentryKey = "Authorization", "?sentry_version=7&sentry_key="
	for _, c := range []struct {
		name, url, contentType string
		body                   []byte
		headers                []string
		status                 int
		says                   string
	}{
		{"JSON logs: broken JSON", s.http + "/v1/ingest/logs", "application/json", []byte(`{"message":`), nil, 400, "line"},
		{"JSON logs: wrong key", s.http + "/v1/ingest/logs", "application/json", []byte(`{}`), []string{bearer, "Bearer nobody"}, 401, "key"},
		{"JSON logs: no key", s.http + "/v1/ingest/logs", "application/json", []byte(`{}`), []string{bearer, ""}, 401, "key"},
		{"JSON logs: too large", s.http + "/v1/ingest/logs", "application/json", large, nil, 413, "large"},
		{"JSON logs: too large after decompression", s.http + "/v1/ingest/logs", "application/json", bomb.Bytes(), []string{"Content-Encoding", "gzip"}, 413, "large"},
		{"OTLP: broken JSON", s.otlp + "/v1/logs", "application/json", []byte(`{"resourceLogs":[`), nil, 400, "message"},
		{"OTLP: broken protobuf", s.otlp + "/v1/metrics", "application/x-protobuf", []byte{0x0a, 0xff, 0xff}, nil, 400, ""},
		{"OTLP: wrong key", s.otlp + "/v1/logs", "application/json", []byte(`{}`), []string{bearer, "Bearer nobody"}, 401, "key"},
		{"OTLP: too large", s.otlp + "/v1/logs", "application/json", large, nil, 413, "large"},
		{"OTLP: unknown content type", s.otlp + "/v1/logs", "text/plain", []byte(`{}`), nil, 415, ""},
		{"OTLP: broken gzip", s.otlp + "/v1/logs", "application/json", []byte("no gzip"), []string{"Content-Encoding", "gzip"}, 400, "gzip"},
		{"Sentry: broken envelope", s.http + "/api/1/envelope/" + sentryKey + key, "", []byte("{broken"), []string{bearer, ""}, 400, "detail"},
		{"Sentry: cut item", s.http + "/api/1/envelope/" + sentryKey + key, "", []byte("{}\n{\"type\":\"event\",\"length\":100}\n{}"), []string{bearer, ""}, 400, "detail"},
		{"Sentry: wrong key", s.http + "/api/1/envelope/" + sentryKey + strings.Repeat("f", 32), "", []byte("{}\n"), []string{bearer, ""}, 403, "detail"},
		{"Sentry: no key", s.http + "/api/1/envelope/", "", []byte("{}\n"), []string{bearer, ""}, 401, "detail"},
		{"Sentry: broken store", s.http + "/api/1/store/" + sentryKey + key, "", []byte(`{"message":`), []string{bearer, ""}, 400, "detail"},
		{"ping: wrong key", s.http + "/ping/" + strings.Repeat("f", 32) + "/job", "", nil, []string{bearer, ""}, 404, "not found"},
		{"ping: unknown monitor", s.http + "/ping/" + key + "/unknown", "", nil, []string{bearer, ""}, 404, "not found"},
		{"ping: upper case", s.http + "/ping/" + key + "/Job", "", nil, []string{bearer, ""}, 400, ""},
		{"ping: exit code", s.http + "/ping/" + key + "/job/256?create=1", "", nil, []string{bearer, ""}, 400, ""},
		{"ping: run id", s.http + "/ping/" + key + "/job?create=1&rid=x", "", nil, []string{bearer, ""}, 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, _, answer := s.post(c.url, c.contentType, c.body, c.headers...)
			if status != c.status || !strings.Contains(answer, c.says) {
				t.Errorf("%d %s, want %d with %q", status, answer, c.status, c.says)
			}
		})
	}

	t.Run("a body that is cut off", func(t *testing.T) {
		for _, target := range []struct{ address, path string }{{s.http, "/v1/ingest/logs"}, {s.otlp, "/v1/logs"}, {s.http, "/api/1/envelope/" + sentryKey + key}} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(target.address, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"message\":\"half", target.path, key)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 12)
			if n, err := conn.Read(answer); err == nil && string(answer[:n]) != "HTTP/1.1 400" && string(answer[:n]) != "HTTP/1.1 401" {
				t.Errorf("%s: %s", target.path, answer[:n])
			}
			conn.Close()
		}
	})

	t.Run("good records of a mixed batch are stored", func(t *testing.T) {
		status, _, answer := s.post(s.http+"/v1/ingest/logs", "", []byte("{\"message\":\"mixed first\"}\n{\"message\":\n{\"message\":\"mixed third\"}\n"))
		if status != http.StatusBadRequest || !strings.Contains(answer, `"accepted":2`) || !strings.Contains(answer, `"line":2`) {
			t.Errorf("%d %s", status, answer)
		}
		s.awaitLog("mixed first")
		s.awaitLog("mixed third")
	})

	if err := s.get(s.internal + "/readyz"); err != nil {
		t.Fatal(err)
	}
	s.terminate()
}

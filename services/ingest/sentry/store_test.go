package sentry

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"testing"
)

func deflated(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestStoreBody(t *testing.T) {
	t.Parallel()
	const event = `{"message":"a?>b"}`
	for name, raw := range map[string]string{
		"JSON":             " " + event,
		"base64":           base64.StdEncoding.EncodeToString([]byte(event)),
		"base64 of zlib":   base64.StdEncoding.EncodeToString(deflated(t, []byte(event))),
		"base64 for URLs":  base64.RawURLEncoding.EncodeToString(deflated(t, []byte(event))),
		"zlib":             string(deflated(t, []byte(event))),
		"base64 as spaces": base64.StdEncoding.EncodeToString([]byte(event)) + "\n",
	} {
		got, err := StoreBody([]byte(raw))
		if err != nil || string(got) != event {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"empty":     {nil, ErrMalformed},
		"text":      {[]byte("hello, world"), ErrMalformed},
		"cut zlib":  {deflated(t, bytes.Repeat([]byte("abc"), 100))[:10], ErrMalformed},
		"zlib bomb": {deflated(t, make([]byte, 8*MaxEventBytes)), ErrTooLarge},
	} {
		if _, err := StoreBody(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzStoreBody(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(base64.StdEncoding.EncodeToString(deflated(f, []byte(`{}`)))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := StoreBody(raw); err == nil && len(got) > max(MaxEventBytes, len(raw)) {
			t.Fatalf("%d bytes of %d", len(got), len(raw))
		}
	})
}

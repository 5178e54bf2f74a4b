package ui

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	page   = `<!doctype html><script>var t = 1</script><script type="module" src="/assets/index-abc.js"></script>`
	script = "console.log('hello')"
)

func built(t *testing.T) http.Handler {
	t.Helper()
	h, err := newHandler(fstest.MapFS{
		".gitkeep":               {},
		"index.html":             {Data: []byte(page)},
		"favicon.svg":            {Data: []byte("<svg/>")},
		"assets/index-abc.js":    {Data: []byte(script)},
		"assets/index-abc.js.gz": {Data: pack(t, script)},
		"assets/index-abc.css":   {Data: []byte("body{}")},
		"assets/.hidden":         {Data: []byte("no")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func pack(t *testing.T, text string) []byte {
	t.Helper()
	var b strings.Builder
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

// get requests a path; headers are pairs of name and value.
func get(h http.Handler, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServesFilesAndThePage(t *testing.T) {
	t.Parallel()
	h := built(t)
	f := func(path, contentType, cache, body string) {
		t.Helper()
		r := get(h, http.MethodGet, path)
		if r.StatusCode != http.StatusOK {
			t.Fatalf("GET %s = %d, want 200", path, r.StatusCode)
		}
		if got := r.Header.Get("Content-Type"); got != contentType {
			t.Errorf("GET %s: Content-Type %q, want %q", path, got, contentType)
		}
		if got := r.Header.Get("Cache-Control"); got != cache {
			t.Errorf("GET %s: Cache-Control %q, want %q", path, got, cache)
		}
		if got := text(t, r); got != body {
			t.Errorf("GET %s = %q, want %q", path, got, body)
		}
	}
	const year = "public, max-age=31536000, immutable"
	f("/assets/index-abc.js", "text/javascript; charset=utf-8", year, script)
	f("/assets/index-abc.css", "text/css; charset=utf-8", year, "body{}")
	f("/favicon.svg", "image/svg+xml", "no-cache", "<svg/>")
	for _, path := range []string{"/", "/index.html", "/signin", "/p/1/logs?from=now-1h", "/p/1/monitors/a.b", "/p/1/errors/../logs"} {
		f(path, "text/html; charset=utf-8", "no-cache", page)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	h := built(t)
	for _, path := range []string{
		"/assets/index-old.js", "/assets/", "/assets", "/assets/.hidden", "/assets/index-abc.js.gz/x",
		"/favicon.ico", "/robots.txt", "/.gitkeep", "/api/v1/midwatch/nothing", "/api/1/envelope/", "/v1/logs", "/ping/key/slug",
	} {
		if r := get(h, http.MethodGet, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, r.StatusCode)
		}
	}
}

func TestOnlyReads(t *testing.T) {
	t.Parallel()
	r := get(built(t), http.MethodPost, "/signin")
	if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Fatalf("POST = %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	r := get(built(t), http.MethodHead, "/assets/index-abc.css")
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Length") != "6" || text(t, r) != "" {
		t.Fatalf("HEAD = %d, Content-Length %q", r.StatusCode, r.Header.Get("Content-Length"))
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	h := built(t)
	f := func(accept string, want bool) {
		t.Helper()
		r := get(h, http.MethodGet, "/assets/index-abc.js", "Accept-Encoding", accept)
		if got := r.Header.Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("%q: Vary %q", accept, got)
		}
		if got := r.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Fatalf("%q: compressed %v, want %v", accept, got, want)
		}
		body := text(t, r)
		if want {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		if body != script {
			t.Errorf("%q: body %q", accept, body)
		}
	}
	f("gzip", true)
	f("br, GZIP;q=0.5", true)
	f("*", true)
	f("", false)
	f("br", false)
	f("gzip;q=0", false)
	f("gzip; q=0.0, *", false)
	f("*;q=0", false)
	if r := get(h, http.MethodGet, "/assets/index-abc.css", "Accept-Encoding", "gzip"); r.Header.Get("Content-Encoding") != "" {
		t.Error("a file without a packed variant is sent as it is")
	}
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	h := built(t)
	plain := get(h, http.MethodGet, "/").Header.Get("Etag")
	packed := get(h, http.MethodGet, "/assets/index-abc.js", "Accept-Encoding", "gzip").Header.Get("Etag")
	if plain == "" || packed == get(h, http.MethodGet, "/assets/index-abc.js").Header.Get("Etag") {
		t.Fatal("each variant needs a tag of its own")
	}
	f := func(path, tag string, want int) {
		t.Helper()
		r := get(h, http.MethodGet, path, "If-None-Match", tag, "Accept-Encoding", "gzip")
		if r.StatusCode != want {
			t.Errorf("GET %s with %s = %d, want %d", path, tag, r.StatusCode, want)
		}
	}
	f("/", plain, http.StatusNotModified)
	f("/p/1/logs", `"other", W/`+plain, http.StatusNotModified)
	f("/assets/index-abc.js", packed, http.StatusNotModified)
	f("/", `"other"`, http.StatusOK)
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("var t = 1"))
	want := "script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	for _, path := range []string{"/", "/assets/none.js"} {
		r := get(built(t), http.MethodGet, path)
		policy := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("GET %s: policy %q, want %q in it", path, policy, want)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: no nosniff", path)
		}
	}
}

func TestWithoutABuild(t *testing.T) {
	t.Parallel()
	h, err := newHandler(fstest.MapFS{".gitkeep": {}})
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, get(h, http.MethodGet, "/p/1/logs")); !strings.Contains(body, "make ui") {
		t.Fatalf("body %q", body)
	}
}

func TestWhatIsEmbeddedIsServed(t *testing.T) {
	t.Parallel()
	r := get(Handler(), http.MethodGet, "/")
	if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("GET / = %d %s", r.StatusCode, r.Header.Get("Content-Type"))
	}
}

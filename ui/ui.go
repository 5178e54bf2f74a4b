// Package ui holds the built user interface and serves it.
package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// dist is what `make ui` builds. A clone without a build has only a placeholder in it.
//
//go:embed all:dist
var dist embed.FS

// Handler serves the user interface: files whose names hold a hash of their content for a year, other files and the
// page itself after asking again. Every path that is no file is the page, which finds its way by the address; what
// belongs to machines is not found rather than a page. Without a build it tells how to make one.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant above
	}
	h, err := newHandler(files)
	if err != nil {
		panic(err) // an embedded file that cannot be read
	}
	return h
}

// notBuilt stands in for the page of a clone without a build.
const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Midwatch: the user interface is not built</title>
<h1>The user interface is not built</h1>
<p>Everything else of Midwatch works. To have its pages too, run <code>make ui</code> in the source tree, then start Midwatch again.</p>
</html>
`

// assets is where the build puts files that are named by their content.
const assets = "/assets/"

// machinePaths begin the paths that programs use. A page there would look like an answer.
var machinePaths = []string{assets, "/api/", "/v1/", "/ping/", "/loki/", "/elasticsearch/", "/prometheus/", "/services/", "/badge/", "/status/"}

type file struct {
	plain       []byte
	gzip        []byte // nil when the build made none
	contentType string
	etag        string
	cache       string
}

type handler struct {
	files  map[string]file
	policy string
}

func newHandler(built fs.FS) (*handler, error) {
	h := &handler{files: map[string]file{}}
	err := fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path.Base(name), ".") || strings.HasSuffix(name, ".gz") {
			return err
		}
		f, err := read(built, name)
		if err != nil {
			return err
		}
		h.files["/"+name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the built user interface: %w", err)
	}
	page, ok := h.files["/index.html"]
	if !ok {
		page = file{plain: []byte(notBuilt), contentType: "text/html; charset=utf-8", cache: "no-cache", etag: etag([]byte(notBuilt))}
		h.files["/index.html"] = page
	}
	h.policy = policy(page.plain)
	return h, nil
}

func read(built fs.FS, name string) (file, error) {
	plain, err := fs.ReadFile(built, name)
	if err != nil {
		return file{}, err
	}
	f := file{plain: plain, contentType: contentType(name), etag: etag(plain), cache: "no-cache"}
	if strings.HasPrefix("/"+name, assets) {
		f.cache = "public, max-age=31536000, immutable"
	}
	switch packed, err := fs.ReadFile(built, name+".gz"); {
	case err == nil:
		f.gzip = packed
	case !errors.Is(err, fs.ErrNotExist):
		return file{}, err
	}
	return f, nil
}

// contentType does not ask the host's tables: they differ, and a wrong type for a script is a blank page.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".json", ".map":
		return "application/json"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// policy allows what the build brings and nothing else; a script within the page is allowed by its hash.
func policy(page []byte) string {
	var scripts strings.Builder
	scripts.WriteString("'self'")
	for _, m := range inlineScript.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(m[1])
		scripts.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return "default-src 'self'; script-src " + scripts.String() + "; style-src 'self'; img-src 'self' data:; object-src 'none'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")

	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h.find(r.URL.Path)
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	header.Set("Cache-Control", f.cache)
	header.Set("Content-Type", f.contentType)
	body, tag := f.plain, f.etag
	if f.gzip != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
			body, tag = f.gzip, strings.TrimSuffix(f.etag, `"`)+`-gzip"`
		}
	}
	header.Set("Etag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		header.Del("Content-Type")
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // the client is gone if this fails, and nobody is left to tell
}

// find returns the file of a path, or the page for a path of the user interface.
func (h *handler) find(requested string) (file, bool) {
	clean := path.Clean("/" + requested)
	if f, ok := h.files[clean]; ok {
		return f, true
	}
	for _, prefix := range machinePaths {
		if strings.HasPrefix(clean+"/", prefix) {
			return file{}, false
		}
	}
	// favicon.ico, robots.txt and the like, which browsers ask for by themselves.
	if path.Dir(clean) == "/" && path.Ext(clean) != "" {
		return file{}, false
	}
	return h.files["/index.html"], true
}

// acceptsGzip reports whether one of the values of Accept-Encoding names gzip, or anything, and does not refuse it.
func acceptsGzip(values []string) bool {
	accepted, named := false, false
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "gzip" && (name != "*" || named) {
				continue
			}
			q, _ := strings.CutPrefix(strings.TrimSpace(strings.ToLower(params)), "q=")
			weight, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			accepted = err != nil || weight > 0
			named = named || name == "gzip"
		}
	}
	return accepted
}

// matches reports whether one of the values of If-None-Match holds the tag; weak tags count, as RFC 9110 wants.
func matches(values []string, tag string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			part = strings.TrimSpace(part)
			if part == "*" || strings.TrimPrefix(part, "W/") == tag {
				return true
			}
		}
	}
	return false
}

package access

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/midwatch/midwatch/storage/catalog"
)

// URLs are the bases that senders and browsers reach Midwatch by, without a trailing slash.
type URLs struct {
	HTTP, OTLPHTTP, OTLPGRPC string
}

// DSN is what Sentry's clients are configured with to send to a project.
func (u URLs) DSN(p catalog.Project) string {
	scheme, rest, found := strings.Cut(u.HTTP, "://")
	if !found {
		scheme, rest = "http", u.HTTP
	}
	return scheme + "://" + p.IngestKey + "@" + rest + "/" + strconv.FormatUint(uint64(p.Number), 10)
}

// Ping is the address that the job of a monitor calls; with an empty slug what a slug is appended
// to, after a slash.
func (u URLs) Ping(ingestKey, slug string) string {
	address := u.HTTP + "/ping/" + ingestKey
	if slug != "" {
		address += "/" + url.PathEscape(slug)
	}
	return address
}

// Badge is the address of the badge of all monitors of the project with this badge key.
func (u URLs) Badge(key string) string { return u.HTTP + "/badge/" + key + ".svg" }

// Status is the address of the status page of the project with this badge key.
func (u URLs) Status(key string) string { return u.HTTP + "/status/" + key }

// origin is the scheme and host of the public URL, as browsers send them; "" without one.
func (u URLs) origin() string {
	parsed, err := url.Parse(u.HTTP)
	if err != nil || parsed.Scheme == "" || parsed.Host == "" {
		return ""
	}
	return parsed.Scheme + "://" + parsed.Host
}

// secure says whether browsers may be told to keep cookies to HTTPS.
func (u URLs) secure() bool { return strings.HasPrefix(u.HTTP, "https://") }

package access

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/midwatch/midwatch/storage/catalog"
)

// maxKeys is how many texts of one request are tried as keys.
const maxKeys = 4

// ProjectOfKey finds the project by the ingest key in a request's headers: Authorization as Bearer or
// as either part of Basic, or X-Midwatch-Key. It is for requests that are few; intake remembers keys.
func ProjectOfKey(ctx context.Context, db *catalog.DB, r *http.Request) (catalog.Project, error) {
	keys := []string{r.Header.Get("X-Midwatch-Key")}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		keys = append(keys, strings.TrimSpace(rest))
	case strings.EqualFold(scheme, "Basic"):
		if text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest)); err == nil {
			user, password, _ := strings.Cut(string(text), ":")
			keys = append(keys, user, password)
		}
	}
	offered := false
	for _, key := range keys[:min(len(keys), maxKeys)] {
		if key == "" {
			continue
		}
		offered = true
		project, err := db.ProjectByKey(ctx, key)
		if !errors.Is(err, catalog.ErrNotFound) {
			return project, err
		}
	}
	if !offered {
		return catalog.Project{}, Unauthorized("send the project's ingest key as Authorization: Bearer")
	}
	return catalog.Project{}, Unauthorized("no project has this ingest key")
}

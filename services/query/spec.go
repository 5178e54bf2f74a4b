package query

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
	"go.yaml.in/yaml/v3"

	"github.com/midwatch/midwatch/proto/openapi"
)

// specJSON is the description of the API as JSON, with a name for this version of it. It is made when it is first asked for.
type specJSON struct {
	once sync.Once
	body []byte
	etag string
	err  error
}

func (s *specJSON) load() error {
	s.once.Do(func() {
		var doc any
		if s.err = yaml.Unmarshal(openapi.YAML, &doc); s.err != nil {
			s.err = fmt.Errorf("read the description of the API: %w", s.err)
			return
		}
		if s.body, s.err = json.Marshal(doc); s.err != nil {
			s.err = fmt.Errorf("write the description of the API: %w", s.err)
			return
		}
		sum := sha256.Sum256(s.body)
		s.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	})
	return s.err
}

// serve answers with the description; it is the same for everybody, so no sign-in is asked for.
func (s *specJSON) serve(c echo.Context) error {
	if err := s.load(); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("ETag", s.etag)
	if c.Request().Header.Get("If-None-Match") == s.etag {
		return c.NoContent(http.StatusNotModified)
	}
	return c.JSONBlob(http.StatusOK, s.body)
}

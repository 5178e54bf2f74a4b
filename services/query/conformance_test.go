package query

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/midwatch/midwatch/proto/openapi"
)

var describedRoutes = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.YAML)
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

// conform holds an answer to the description of the API.
func conform(t *testing.T, r *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	routes, err := describedRoutes()
	if err != nil {
		t.Fatalf("read the description: %v", err)
	}
	r = r.Clone(t.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "", "", "" // the description's server is a path
	route, params, err := routes.FindRoute(r)
	if err != nil {
		t.Fatalf("%s %s is not described: %v", r.Method, r.URL, err)
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 status,
		Header:                 header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
		t.Errorf("%s %s: the answer %d is not as described: %v\n%s", r.Method, r.URL, status, err, strings.TrimSpace(string(body)))
	}
}

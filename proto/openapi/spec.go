// Package openapi holds the description of Midwatch's public HTTP API.
package openapi

import _ "embed"

// YAML is the description as it is written, in OpenAPI 3.0. It must not be changed.
//
//go:embed api.yaml
var YAML []byte

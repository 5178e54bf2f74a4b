//go:build !(linux && amd64)

package engine

import (
	"context"
	"fmt"
	"runtime"
)

// libraryRuns says whether libchdb.so exists for this platform.
const libraryRuns = false

func runLibrary(context.Context, string, string) error {
	return fmt.Errorf("%w: there is no engine library for %s/%s", errUnusable, runtime.GOOS, runtime.GOARCH)
}

package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Version is the engine that this program is made for, as the registry of packages names it. The
// lock file in deployments/engine pins the same.
const Version = "26.7.3-stable.1"

// libraryName is the file in the package.
const libraryName = "libchdb.so"

// Find looks for an engine: the library that MIDWATCH_ENGINE_LIB names, the one that `make engine`
// put into the cache folder, a clickhouse binary on PATH. One of library and server is not empty
// when err is nil. Otherwise err says what to provide. getenv is like os.Getenv.
func Find(getenv func(string) string) (library, server string, err error) {
	if library = getenv("MIDWATCH_ENGINE_LIB"); library != "" {
		if err := readable(library); err != nil {
			return "", "", fmt.Errorf("MIDWATCH_ENGINE_LIB: %w", err)
		}
		return library, "", nil
	}
	if libraryRuns {
		if library := cached(getenv); library != "" && readable(library) == nil {
			return library, "", nil
		}
	}
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		server := filepath.Join(dir, "clickhouse")
		info, err := os.Stat(server)
		// A relative folder could be anybody's.
		if err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return "", server, nil
		}
	}
	ways := "put a `clickhouse` binary on PATH, or set MIDWATCH_CLICKHOUSE_URL to the address of a ClickHouse server"
	if libraryRuns {
		ways = "run `make engine`, or " + ways
	}
	return "", "", errors.New("there is no ClickHouse engine: " + ways)
}

// cached is where `make engine` puts the library, or empty when the environment names no home.
func cached(getenv func(string) string) string {
	cache := getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(cache) { // what the XDG rules say of a relative one
		home := getenv("HOME")
		if home == "" {
			return ""
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "midwatch", "engine", Version, libraryName)
}

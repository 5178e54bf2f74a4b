package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMergedPartsAreNotActive(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "data", "store", "182", "182293fb-149a-4603-801d-0d9569ec5848")
	mkdir := func(names ...string) {
		for _, name := range names {
			if err := os.MkdirAll(filepath.Join(table, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	mkdir("20261120-0_1_1_0", "20261120-0_2_2_0", "20261120-0_1_2_1", "20261121-0_3_3_0", "detached", "deduplication_logs")
	state, busy, err := engineParts(dir)
	if want := "182293fb/20261120-0_1_2_1 182293fb/20261121-0_3_3_0"; err != nil || busy || state != want {
		t.Errorf("%q, busy %v, %v; want %q", state, busy, err, want)
	}
	mkdir("tmp_merge_20261121-0_3_4_1")
	if _, busy, err = engineParts(dir); err != nil || !busy {
		t.Errorf("a merge goes on: busy %v, %v", busy, err)
	}
}

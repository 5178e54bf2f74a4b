package telemetry_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) {
	code := storagetest.Main(m)
	if child := len(os.Args) > 1 && os.Args[1] == "engine"; code == 0 && !child {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

package dossier

import (
	"os"
	"testing"

	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

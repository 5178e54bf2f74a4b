package main

import "github.com/midwatch/midwatch/storage/engine"

// engineChild is the hidden subcommand that `up` runs as its ClickHouse.
func engineChild(args []string) int { return engine.Child(args) }
